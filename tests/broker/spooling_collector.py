"""A collector with a spool as a process, fed through its pipe, and what it must send for a capture."""

from __future__ import annotations

import io
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from footfall_cli.children import free_port
from footfall_cli.drained import read_all
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall
from footfall_collectors.collect import StoreRun
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.pseudonyms import load_key
from footfall_collectors.publish import encoded
from footfall_collectors.session import Batching, Output
from footfall_collectors.sources.pcap import blocks
from footfall_collectors.spool import Bounds, Spool
from footfall_events.sighting_batches import decode_sightings
from footfall_events.stores import load_chain
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

HEARTBEAT_S = 5


def wait_until(condition: Callable[[], object], what: str, within_s: float = 90.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(0.02)


@dataclass(frozen=True)
class Place:
    """What the collectors of one sensor share over their restarts."""

    config: Path
    key: Path
    store: str
    sensor: str
    spool: Path

    def options(self, bootstrap: str) -> list[str]:
        given = {"config": self.config, "key-file": self.key, "store": self.store, "sensor": self.sensor}
        given |= {"spool": self.spool, "heartbeat-s": HEARTBEAT_S, "bootstrap": bootstrap}
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]

    def left(self) -> int:
        """Messages in the spool of a collector that has ended."""
        spool = Spool(self.spool, Bounds(10**9, 10**12), CollectorMetrics(CollectorRegistry()), print)
        try:
            return spool.messages
        finally:
            spool.close()

    def outputs(self, capture: bytes, *, to_the_end: bool = True) -> list[Output]:
        """What a collector makes of a capture on its pipe; not `to_the_end`: before it knows that it is over."""
        chain = load_chain(self.config)
        batching = Batching(HEARTBEAT_S * 1000)
        run = StoreRun(chain.stores[self.store], chain.privacy, load_key(self.key, chain.privacy), batching)
        if to_the_end:
            return list(run.stream(self.sensor, "boot", io.BytesIO(capture)))
        session = run.session(self.sensor, "boot")
        return [output for block in blocks(io.BytesIO(capture), "capture") for output in session.advance(block)]


class Collector:
    """One process. Whatever happens in the block, it is gone afterwards."""

    def __init__(self, place: Place, bootstrap: str, log: Path, *more: str) -> None:
        self._log, self._port = log, free_port()
        options = [*place.options(bootstrap), "--stdin", "--metrics-port", str(self._port), *more]
        # Without any FOOTFALL_ variable of whoever runs the tests.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}  # noqa: TID251  inherited
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                footfall("collect", *options), stdin=subprocess.PIPE, stdout=said, stderr=said, env=environ
            )
        assert self.process.stdin is not None
        self._pipe = self.process.stdin

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def feed(self, data: bytes) -> None:
        self._pipe.write(data)
        self._pipe.flush()

    def ended(self, within_s: float = 90.0) -> int:
        """Exit code, after the end of its input."""
        self._pipe.close()
        return self.process.wait(within_s)

    def terminated(self, within_s: float) -> int:
        """Exit code, after a SIGTERM with its pipe still open."""
        self.process.terminate()
        return self.process.wait(within_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._pipe.close()

    def count(self, name: str, **labels: str) -> float:
        """A metric over the labels that are not given; 0 while nobody answers yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as reply:
                text = reply.read().decode()
        except OSError:
            return 0
        wanted = f"footfall_collector_{name}"
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == wanted]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def said(self) -> list[str]:
        """Lines of standard error and of the report."""
        return self._log.read_text().splitlines()


def log_of(kafka: EmbeddedKafka, topic: str) -> list[bytes]:
    """Values of a topic; all of one store, so in one partition and in order."""
    messages = read_all(kafka.bootstrap, topic)
    assert len({message.partition for message in messages}) <= 1
    return [message.value or b"" for message in messages]


def first_batches(values: Sequence[bytes]) -> list[tuple[str, int]]:
    """(boot, sequence) of each batch at its first appearance; a repeat must be the same to the byte."""
    seen: dict[tuple[str, int], bytes] = {}
    for value in values:
        header, _ = decode_sightings(value)
        assert seen.setdefault((header.boot_id, header.batch_seq), value) == value
    return list(seen)


def of_topic(outputs: Sequence[Output], topic: str) -> list[bytes]:
    """Values that outputs are sent as."""
    return [value for found, value in map(encoded, outputs) if found == topic]


def without_boot(values: Sequence[bytes]) -> list[object]:
    """Batches of one boot, comparable with those of another one."""
    return [
        (header.batch_seq, header.sensor_clock_ms, header.key_epoch, rows.to_pylist())
        for header, rows in map(decode_sightings, values)
    ]


def batches_of(values: Sequence[bytes], boot: str) -> list[bytes]:
    """Those of one boot, repeats left out."""
    return list({value: None for value in values if decode_sightings(value)[0].boot_id == boot})
