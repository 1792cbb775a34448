"""Stream workers as child processes: what they are sent, how they fail, and what they must leave in the topics."""

from __future__ import annotations

import json
import os
import signal
import tomllib
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from confluent_kafka import KafkaError, Message, Producer
from footfall_cli.children import Child, free_port
from footfall_cli.drained import end_offsets, read_all, wait_until_zero
from footfall_cli.main import footfall
from footfall_cli.topics import partitions_of_sightings
from footfall_events.producing import PRODUCER
from footfall_events.rows import decode_rows
from footfall_events.schemas import STORE_MINUTES as MINUTE_SCHEMA
from footfall_events.schemas import VISITS as VISIT_SCHEMA
from footfall_events.stores import ChainConfig, parse_chain
from footfall_events.topics import CHECKPOINTS, DEAD_LETTERS, SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams.events import Message as Sent
from footfall_streams.fold import StoreJob
from footfall_streams.partitioning import partition_of
from footfall_streams.state import OFFSET_KEY
from footfall_streams.step import Output, Step
from prometheus_client.parser import text_string_to_metric_families

from tests.property.worlds import SentBatch, Tables, world

_STORE = """
[[stores]]
id = "{}"
sensors = ["a", "b"]
opening = {{ daily = "02:00-23:00" }}
"""
_KEYED = {VISITS.name: (VISIT_SCHEMA, "visit_id"), STORE_MINUTES.name: (MINUTE_SCHEMA, "minute")}


@dataclass(frozen=True)
class Shops:
    """Stores of two sensors each, and what a test sends for them."""

    names: tuple[str, ...]

    @classmethod
    def on_every_partition(cls, prefix: str, partitions: int) -> Shops:
        """One store on each partition."""
        found: dict[int, str] = {}
        number = 0
        while len(found) < partitions:
            name = f"{prefix}-{number}"
            found.setdefault(partition_of(name.encode(), partitions), name)
            number += 1
        return cls(tuple(sorted(found.values())))

    def toml(self) -> str:
        return "".join(_STORE.format(name) for name in self.names)

    def chain(self) -> ChainConfig:
        return parse_chain(tomllib.loads(self.toml()))

    def batches(self, seed: int, *, hours: float = 2, sightings: int = 60) -> list[SentBatch]:
        """Every store's story in the order in which it is sent, each closed by a final batch."""
        stories = [
            replace(batch, store=name)
            for number, name in enumerate(self.names)
            for batch in world(Random(f"{seed} {number}"), hours=hours, sightings=sightings)
        ]
        return sorted(stories, key=lambda batch: (batch.clock_ms, batch.final))


ONE_SHOP = Shops(("s",))


class Feed:
    """Sends batches in order, each once; what the broker has not confirmed by the end fails the test."""

    def __init__(self, kafka: str, batches: Sequence[SentBatch] = ()) -> None:
        self.left = list(batches)
        self._unsent: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                **PRODUCER,
                "linger.ms": 1,
                "log_level": 0,
            }
        )

    def send(self, count: int | None = None) -> None:
        """The next batches, or all that are left; `finish` waits for them."""
        now, self.left = self.left[:count], self.left[count:] if count is not None else []
        for batch in now:
            self.send_value(batch.store, batch.value())

    def send_value(self, store: str, value: bytes) -> None:
        self._producer.produce(SIGHTINGS.name, value, store.encode(), on_delivery=self._delivered)
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._unsent.append(str(error))

    def finish(self) -> None:
        """Until the broker has confirmed all of it."""
        assert self._producer.flush(90) == 0
        assert not self._unsent, self._unsent[:3]


def send(kafka: str, values: Sequence[bytes], store: str = "s") -> None:
    """Send values of one store and wait until the broker has them."""
    feed = Feed(kafka)
    for value in values:
        feed.send_value(store, value)
    feed.finish()


class Worker:
    """A `footfall stream` process that is started again whenever it has ended, as its supervisor would.

    Its steps are small, and its group notices within six seconds that it is gone.
    """

    def __init__(
        self,
        directory: Path,
        kafka: str,
        shops: Shops = ONE_SHOP,
        *,
        name: str = "worker",
        command: Sequence[str | Path] | None = None,
        **settings: str,
    ) -> None:
        """`settings` are FOOTFALL_* variables without their prefix; `command` is what else to run instead."""
        config = directory / f"{name}.toml"
        config.write_text(shops.toml())
        self.port = free_port()
        more = ("--config", config, "--bootstrap", kafka, "--metrics-port", str(self.port))
        self._command = [*map(str, command), *map(str, more)] if command else footfall("stream", *more)
        self._log = directory / f"{name}.log"
        # The worker inherits what the tests run in.
        self._environ = {**os.environ, "FOOTFALL_CHUNK_MESSAGES": "16", "FOOTFALL_SESSION_TIMEOUT_S": "6"}  # noqa: TID251
        self._environ |= {f"FOOTFALL_{key}": value for key, value in settings.items()}
        self.child = Child(name, self._command, self._log, self._environ)
        self.child.start()

    def keep_alive(self) -> None:
        """Start it again if it has ended, without its fail point; that it can never work is a defect."""
        code = self.child.exit_code()
        assert code != 2, self.child.tail()
        if code is not None:
            self._environ.pop("FOOTFALL_FAIL_POINT", None)
            self.child = Child(self.child.name, self._command, self._log, self._environ)
            self.child.start()

    def signal(self, number: signal.Signals) -> None:
        assert self.child.process is not None
        self.child.process.send_signal(number)

    def is_frozen(self) -> bool:
        """Whether a signal, or a fail point, has stopped it."""
        if self.child.process is None or self.child.exit_code() is not None:
            return False
        options = os.WSTOPPED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.child.process.pid, options) is not None

    def wait(self, wait_s: float = 90) -> int:
        """Until it has ended; its exit code, negative for a signal."""
        assert self.child.process is not None
        return self.child.process.wait(wait_s)

    def counters(self) -> dict[str, float]:
        """Its /metrics, counters and gauges, summed over labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        sums: dict[str, float] = defaultdict(float)
        for sample in (sample for family in families for sample in family.samples):
            sums[sample.name.removeprefix("footfall_streams_")] += sample.value
        return sums

    def end(self) -> None:
        """End it for good, frozen or not."""
        if self.child.exit_code() is None:
            self.signal(signal.SIGCONT)
        self.child.stop()


@contextmanager
def ending(*workers: Worker) -> Iterator[None]:
    """Whatever happens, the workers are no more afterwards."""
    try:
        yield
    finally:
        for worker in workers:
            worker.end()


@contextmanager
def worker_on(directory: Path, kafka: str, shops: Shops = ONE_SHOP) -> Iterator[Worker]:
    """A worker that ends well when it is asked to."""
    worker = Worker(directory, kafka, shops)
    try:
        yield worker
    finally:
        worker.child.stop()
    assert worker.child.exit_code() == 0, worker.child.tail()


def nothing() -> None:
    """What else to do while waiting."""


def until(condition: Callable[[], bool], meanwhile: Callable[[], None] = nothing, wait_s: float = 90) -> None:
    """Wait for a condition; `meanwhile` is called between two looks at it."""
    wait_until_zero(lambda: 0 if condition() else 1, meanwhile, wait_s)


def drain(kafka: str, meanwhile: Callable[[], None], wait_s: float = 90) -> None:
    """Until the checkpoints, whichever release wrote them, have passed everything that was sent."""
    wait_until_zero(lambda: _behind(kafka), meanwhile, wait_s)


def _behind(kafka: str) -> int:
    done = {
        message.partition: int(json.loads(message.value)["next_offset"])
        for message in read_all(kafka, CHECKPOINTS.name)
        if message.key == OFFSET_KEY and message.value
    }
    return sum(end - done.get(partition, 0) for partition, end in end_offsets(kafka, SIGHTINGS.name).items())


def _outputs(kafka: str, stores: frozenset[bytes] | None) -> dict[int, list[Output]]:
    """What the topics hold of these stores, by partition, each topic in its order."""
    step = Step()
    for topic in (VISITS.name, STORE_MINUTES.name, DEAD_LETTERS.name):
        for found in read_all(kafka, topic):
            if stores is None or found.key in stores:
                headers = tuple(found.headers.items())
                step.outputs[found.partition].append(Output(topic, found.key, found.value or b"", headers))
    return step.outputs


def tables_in(kafka: str, shops: Shops | None = None) -> Tables:
    """What the topics hold, of all stores or of these, as ClickHouse would show it."""
    stores = frozenset(name.encode() for name in shops.names) if shops else None
    tables = Tables()
    tables.add(Step(outputs=_outputs(kafka, stores)))
    return tables


def log_of(kafka: str, shops: Shops) -> list[Sent]:
    """What `sightings.v1` holds of these stores, by partition and offset."""
    keys = {name.encode() for name in shops.names}
    # The latest instant that a clock can name: no batch of a test is ahead of its broker.
    found = [
        Sent(message.partition, message.offset, message.key, message.value or b"", 2**42)
        for message in read_all(kafka, SIGHTINGS.name)
        if message.key in keys
    ]
    return sorted(found, key=lambda message: (message.partition, message.offset))


def folded(log: Sequence[Sent], shops: Shops, partitions: int) -> Tables:
    """The tables of the pure fold of a log."""
    tables = Tables()
    tables.add(StoreJob(shops.chain(), lambda key: partition_of(key, partitions)).take(log))
    return tables


def assert_exact(kafka: str, shops: Shops, batches: Sequence[SentBatch], more: Sequence[bytes] = ()) -> None:
    """The log holds what was sent, each once, and the topics the tables of its pure fold: row by row, every column.

    Nor is any row in the topics twice, or after a newer one of its key: each step was written once, in turn.
    """
    log = log_of(kafka, shops)
    found = Counter(message.value for message in log)
    sent = Counter([*(batch.value() for batch in batches), *more])
    assert found == sent, f"{len(sent - found)} messages are not in the log, {len(found - sent)} more than once"
    assert_tables(kafka, shops, folded(log, shops, partitions_of_sightings(kafka)))


def assert_tables(kafka: str, shops: Shops, wanted: Tables) -> None:
    """The topics hold these tables of the stores, each row sent once and in turn."""
    _assert_each_once(_outputs(kafka, frozenset(name.encode() for name in shops.names)))
    found = tables_in(kafka, shops)
    for name, left, right in (
        ("visits", found.visits(), wanted.visits()),
        ("minutes", found.minutes(), wanted.minutes()),
    ):
        assert right, f"nothing to compare: no {name}"
        if left != right:
            lost, more = [row for row in right if row not in left], [row for row in left if row not in right]
            raise AssertionError(f"{len(lost)} {name} lost, {len(more)} others: {lost[:3]} {more[:3]}")
    assert sorted(found.dead) == sorted(wanted.dead)


def _assert_each_once(outputs: Mapping[int, Sequence[Output]]) -> None:
    newest: dict[tuple[str, str, object], int] = {}
    for output in (output for partition in outputs.values() for output in partition):
        if output.topic not in _KEYED:
            continue
        schema, name = _KEYED[output.topic]
        for row in decode_rows(output.value, schema).to_pylist():
            key = (output.topic, row["store_id"], row[name])
            assert newest.get(key, -1) < row["version"], f"{key} again at version {row['version']}, after {newest[key]}"
            newest[key] = row["version"]
