"""`footfall sink` and `footfall schema apply`: options, metrics endpoint, and the loop until a signal."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TypeVar

from footfall_events.broker_access import check_access
from footfall_events.errors import ConfigError, Retryable, StoreUnavailable
from footfall_events.stores import ChainConfig, load_chain
from prometheus_client import CollectorRegistry, start_http_server

from footfall_sinks.address import ClickHouseAddress
from footfall_sinks.clickhouse import ClickHouseStore, open_client, statements_refused
from footfall_sinks.consume import Sink
from footfall_sinks.kafka import KafkaDeadLetters, KafkaSource, check_topics
from footfall_sinks.metrics import SinkMetrics
from footfall_sinks.migrate import apply_schema
from footfall_sinks.settings import SinkSettings

log = logging.getLogger(__name__)

_STEP_S = 0.1
_GC_THRESHOLD = 100_000
_WAIT_S = (1, 2, 4, 8, 8, 8)

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sink; each overrides its FOOTFALL_* variable."""
    parser.add_argument("--clickhouse", metavar="URL", help="http://HOST:PORT of ClickHouse (FOOTFALL_CLICKHOUSE)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka (FOOTFALL_BOOTSTRAP)")
    parser.add_argument("--metrics-host", metavar="HOST", help="address of /metrics (FOOTFALL_METRICS_HOST)")
    parser.add_argument("--metrics-port", metavar="PORT", help="port of /metrics, 0 = any (FOOTFALL_METRICS_PORT)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT, then write what was taken; exit code 0."""
    given = {
        "FOOTFALL_CLICKHOUSE": args.clickhouse,
        "FOOTFALL_BOOTSTRAP": args.bootstrap,
        "FOOTFALL_METRICS_HOST": args.metrics_host,
        "FOOTFALL_METRICS_PORT": args.metrics_port,
    }
    settings = SinkSettings.from_mapping({**environ, **{name: value for name, value in given.items() if value}})
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("urllib3", "clickhouse_connect"):
        # They print whole request URLs at each retry; the loop says once what it puts off.
        logging.getLogger(chatty).setLevel(logging.ERROR)
    registry = CollectorRegistry()
    metrics = SinkMetrics(registry)
    try:
        server, _thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        raise ConfigError([f"metrics port {settings.metrics_port}: {error.strerror}"]) from error
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        _consume(settings, metrics, stop)
    finally:
        server.shutdown()
        server.server_close()
    return 0


def _consume(settings: SinkSettings, metrics: SinkMetrics, stop: threading.Event) -> None:
    def is_ready() -> bool:
        check_access(settings.transport)
        check_topics(settings.kafka())
        return True

    with (
        closing(ClickHouseStore(settings.clickhouse, timeout_s=settings.store_timeout_s)) as store,
        ThreadPoolExecutor(1) as inserts,
    ):
        try:
            store.connect()
        except StoreUnavailable as error:
            log.warning("ClickHouse does not answer (%s); rows wait in Kafka until it does", error)
        if not _patiently("Kafka", is_ready, stop):
            return
        source = KafkaSource(settings, on_lost=lambda places: sink.lose(places))
        letters = KafkaDeadLetters(settings)
        sink = Sink(source, store, letters, metrics, limits=settings.limits, inserts=inserts, clock=time.monotonic)
        # What a message becomes is in no cycle; to look for cycles among a backlog's takes 6 % of the processor time.
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        try:
            while not stop.is_set():
                sink.step(_STEP_S)
            sink.finish()
        finally:
            source.close()


def add_schema_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `footfall schema apply`."""
    parser.add_argument("--clickhouse", metavar="URL", help="http://HOST:PORT of ClickHouse (FOOTFALL_CLICKHOUSE)")
    parser.add_argument("--config", metavar="CHAIN.toml", help="the chain's configuration (FOOTFALL_CONFIG)")


def run_schema(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Bring the tables and views up to date; exit code 0, or 1 if ClickHouse does not answer or refuses."""
    address = ClickHouseAddress.given(args.clickhouse, environ)
    config = args.config or environ.get("FOOTFALL_CONFIG", "")
    chain: ChainConfig | None = load_chain(Path(config)) if config else None
    client = _patiently("ClickHouse", lambda: open_client(address), threading.Event())
    if client is None:
        return 1
    with closing(client), statements_refused():
        apply_schema(client, chain)
    return 0


def _patiently(name: str, attempt: Callable[[], T], stop: threading.Event) -> T | None:
    """The attempt's result, giving a service that is still starting half a minute; None if told to stop."""
    for wait_s in _WAIT_S:
        try:
            return attempt()
        except Retryable as error:
            log.warning("%s does not answer (%s); trying again in %d s", name, error, wait_s)
        if stop.wait(wait_s):
            return None
    return attempt()
