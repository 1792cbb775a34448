"""`footfall stream`: options, metrics endpoint, and the Faust worker."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping

import faust
from footfall_events.errors import BrokerUnavailable, ConfigError
from prometheus_client import CollectorRegistry, start_http_server

from footfall_streams.app import build_app
from footfall_streams.memory import keep_no_spare_memory
from footfall_streams.settings import StreamSettings

log = logging.getLogger(__name__)

_WAIT_S = (1, 2, 4, 8, 8, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the worker; each overrides its FOOTFALL_* variable."""
    parser.add_argument("--config", metavar="CHAIN.toml", help="the chain's configuration (FOOTFALL_CONFIG)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka (FOOTFALL_BOOTSTRAP)")
    parser.add_argument("--metrics-host", metavar="HOST", help="address of /metrics (FOOTFALL_METRICS_HOST)")
    parser.add_argument("--metrics-port", metavar="PORT", help="port of /metrics, 0 = any (FOOTFALL_METRICS_PORT)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; exit code 0. A lost step ends the process with 1: start it again."""
    given = {
        "FOOTFALL_CONFIG": args.config,
        "FOOTFALL_BOOTSTRAP": args.bootstrap,
        "FOOTFALL_METRICS_HOST": args.metrics_host,
        "FOOTFALL_METRICS_PORT": args.metrics_port,
    }
    settings = StreamSettings.from_mapping({**environ, **{name: value for name, value in given.items() if value}})
    keep_no_spare_memory()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    registry = CollectorRegistry()
    app = _build(settings, registry)
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        raise ConfigError([f"metrics port {settings.metrics_port}: {error.strerror}"]) from error
    worker = faust.Worker(app, loglevel="WARNING", quiet=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0


def _build(settings: StreamSettings, registry: CollectorRegistry) -> faust.App:
    """Build the app, giving a broker that is still starting half a minute."""
    for wait_s in _WAIT_S:
        try:
            return build_app(settings, registry)
        except BrokerUnavailable as error:
            log.warning("Kafka does not answer (%s); trying again in %d s", error, wait_s)
            time.sleep(wait_s)
    return build_app(settings, registry)
