"""`footfall collect`: options, key, metrics endpoint, and the run."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from footfall_events.broker_access import check_access
from footfall_events.errors import BrokerUnavailable, ConfigError
from prometheus_client import CollectorRegistry, start_http_server

from footfall_collectors.collect import StoreRun
from footfall_collectors.forward import Forwarder
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.outage import Outage
from footfall_collectors.pseudonyms import load_key, throwaway_key
from footfall_collectors.publish import Publisher
from footfall_collectors.session import Output
from footfall_collectors.settings import CollectorSettings
from footfall_collectors.sources.pipe import pipe
from footfall_collectors.spool import Spool

_LOOK_S = 5.0  # an interface is open by then, and its frames wait in the kernel

_OPTIONS = {
    "config": ("CHAIN.toml", "the chain's configuration"),
    "store": ("ID", "the store that this process listens in"),
    "bootstrap": ("HOST:PORT", "Kafka"),
    "sensor": ("ID", "the sensor that the pipe or the interface is"),
    "interface": ("NAME", "listen on an interface in monitor mode"),
    "filter": ("EXPR", "what the interface's socket lets through, as pcap-filter(7) has it; default: everything"),
    "key-file": ("FILE", "the pseudonym key, made by `footfall keys init`"),
    "heartbeat-s": ("S", "seconds between batches: 60 of event time for captures, 5 live"),
    "max-rows": ("N", "sightings a batch, at most"),
    "spool": ("DIR", "keep what Kafka has not confirmed in this directory; for a pipe or an interface"),
    "spool-mb": ("MB", "how much the spool may hold, oldest dropped first: 256"),
    "spool-hours": ("H", "how long a message may wait in the spool: 72"),
    "metrics-host": ("HOST", "address of /metrics"),
    "metrics-port": ("PORT", "port of /metrics, 0 = any"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a collector; each that takes a value overrides its FOOTFALL_* variable."""
    for name, (metavar, text) in _OPTIONS.items():
        variable = "FOOTFALL_" + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", metavar=metavar, help=f"{text} ({variable})")
    parser.add_argument("--pcap", action="append", default=[], metavar="[SENSOR=]FILE", help="a capture; repeatable")
    parser.add_argument("--stdin", action="store_true", help="a capture on standard input, e.g. tcpdump -U -w -")
    parser.add_argument("--duration-s", type=float, metavar="S", help="end listening on the interface after S seconds")
    parser.add_argument("--throwaway-key", action="store_true", help="for captures: a key that dies with the process")
    parser.add_argument(
        "--trust-clock", action="store_true", help="begin with this clock, although the spool's last batch is later"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was heard as JSON, instead of printing")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Collect to the end of the source; 1 if a capture could be read only in part."""
    settings = _settings(args, environ)
    privacy = settings.chain.privacy
    key = load_key(settings.key_file, privacy) if settings.key_file else throwaway_key(0)
    registry = CollectorRegistry()
    metrics, stop = CollectorMetrics(registry), Event()
    store_run = StoreRun(settings.store, privacy, key, settings.batching)
    with ExitStack() as stack:
        spool = None
        if settings.spool:
            spool = Spool(settings.spool, settings.spool_bounds, metrics, _say)
            stack.callback(spool.close)
        # Opens an interface: what cannot be heard is refused before anything else is begun.
        outputs = _outputs(settings, store_run, stop, args, spool)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        _look_at_kafka(settings, spool)
        _serve_metrics(settings, registry)
        publisher = _publisher(settings, spool, metrics, stop)
        stack.callback(publisher.close)
        sent = _send_all(outputs, publisher, settings.store.store_id, store_run, metrics)
        publisher.finish()
    if stop.is_set() and settings.stdin:
        store_run.warnings.clear()  # wherever we leave a pipe, it is cut within a frame
    _report(store_run, sent, args.report)
    for warning in store_run.warnings:
        _say(warning)
    return 1 if store_run.warnings else 0


def _say(text: str) -> None:
    sys.stderr.write(f"footfall: {text}\n")


def _settings(args: argparse.Namespace, environ: Mapping[str, str]) -> CollectorSettings:
    given = {"FOOTFALL_" + name.upper().replace("-", "_"): getattr(args, name.replace("-", "_")) for name in _OPTIONS}
    values = {**environ, **{name: value for name, value in given.items() if value}}
    if args.stdin:
        values["FOOTFALL_STDIN"] = "true"
    settings = CollectorSettings.from_mapping(values, args.pcap, throwaway=args.throwaway_key)
    if settings.stdin and sys.stdin is None:
        raise ConfigError(["--stdin: standard input is closed"])
    if args.report:
        try:
            args.report.open("a").close()
        except FileNotFoundError:
            raise ConfigError([f"--report {args.report}: there is no directory {args.report.parent}"]) from None
        except OSError as error:
            raise ConfigError([f"--report {args.report}: {error.strerror}"]) from error
    return settings


def _look_at_kafka(settings: CollectorSettings, spool: Spool | None) -> None:
    """Raise ConfigError if the broker refuses us: it never takes a batch, while one that is away will.

    A sensor that has spooled before goes on hearing all the same: certificates expire, and shops do not wait.
    """
    try:
        check_access(settings.transport, _LOOK_S)
    except BrokerUnavailable:
        return
    except ConfigError as error:
        if spool is None or not spool.clock_ms(settings.sensor_id):
            raise
        for problem in error.problems:
            _say(f"{problem}; until then what is heard waits in the spool")


def _serve_metrics(settings: CollectorSettings, registry: CollectorRegistry) -> None:
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        raise ConfigError([f"metrics port {settings.metrics_port}: {error.strerror}"]) from error
    except UnicodeError:
        raise ConfigError([f"metrics host {settings.metrics_host!r}: no name of a host"]) from None


def _publisher(
    settings: CollectorSettings, spool: Spool | None, metrics: CollectorMetrics, stop: Event
) -> Publisher | Forwarder:
    if spool is not None:
        return Forwarder(spool, settings.kafka(), metrics, _say, stop)
    if not settings.captures:
        _say("no --spool: what Kafka has not confirmed after five minutes is lost, and ends this process")
    return Publisher(settings.kafka(), metrics, Outage(metrics, _say), stop)


def _send_all(
    outputs: Iterator[Output],
    publisher: Publisher | Forwarder,
    store_id: str,
    store_run: StoreRun,
    metrics: CollectorMetrics,
) -> Counter[str]:
    """Send to the end of the source; how many batches and minutes."""
    sent: Counter[str] = Counter()
    for output in outputs:
        publisher.send(store_id, output)
        sent["batches" if output.header else "sensor_minutes"] += 1 if output.header else output.rows.num_rows
        if output.header:
            session = store_run.sessions[output.header.sensor_id]
            metrics.update(output.header.sensor_id, session.heard, output.header.sensor_clock_ms)
    return sent


def _captured(settings: CollectorSettings, store_run: StoreRun, stop: Event) -> Iterator[Output]:
    """The captures, to their end or to a signal; a pipe and an interface end by themselves and send what they hold."""
    for output in store_run.files(dict(settings.captures)):
        yield output
        if stop.is_set():
            store_run.warnings.append("ended by a signal before the end of the captures")
            return


def _outputs(
    settings: CollectorSettings, store_run: StoreRun, stop: Event, args: argparse.Namespace, spool: Spool | None
) -> Iterator[Output]:
    if settings.captures:
        return _captured(settings, store_run, stop)
    boot = secrets.token_hex(8)
    if settings.stdin:
        return store_run.stream(settings.sensor_id, boot, pipe(sys.stdin.fileno(), stop))
    # Scapy takes a second to import, and only an interface needs it from the start.
    from footfall_collectors.sources.live import live_blocks
    from footfall_collectors.sources.radio_clock import RadioClock

    sent_ms = spool.clock_ms(settings.sensor_id) if spool and not args.trust_clock else 0
    radio = live_blocks(settings.interface, settings.filter, args.duration_s, stop, RadioClock(sent_ms))
    return store_run.live(settings.sensor_id, boot, radio)


def _report(store_run: StoreRun, sent: Counter[str], path: Path | None) -> None:
    """One JSON object of what was heard, dropped and sent by all sensors of this run."""
    heard = [session.heard for session in store_run.sessions.values()]
    report = {
        "frames": sum(one.frames for one in heard),
        "rejected_frames": dict(sum((one.rejected for one in heard), Counter())),
        "ignored_frames": dict(sum((one.ignored for one in heard), Counter())),
        "sightings": sum(one.sightings for one in heard),
        "dropped_sightings": dict(sum((one.dropped_sightings for one in heard), Counter())),
        "batches": sent["batches"],
        "sensor_minutes": sent["sensor_minutes"],
    }
    text = json.dumps(report) + "\n"
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
