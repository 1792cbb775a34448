"""Workers of one group under their supervisor, while messages keep coming."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from footfall_events.topics import CHECKPOINTS
from footfall_streams.state import OFFSET_KEY

from tests.broker.workers import Feed, Shops, Worker, assert_exact, drain, until

log = logging.getLogger(__name__)

_AT_A_TIME = 4


class Checkpoints:
    """Next offset of every partition, read on and on as the workers commit; nothing new while Kafka is away.

    `formats` are those that each partition's last commit was written in.
    """

    def __init__(self, kafka: str, partitions: int) -> None:
        config = {"group.id": "observer", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._reader = Consumer({"bootstrap.servers": kafka, "log_level": "0", **config})
        self._reader.assign([TopicPartition(CHECKPOINTS.name, number, 0) for number in range(partitions)])
        self._next = dict.fromkeys(range(partitions), 0)
        self.formats = dict.fromkeys(range(partitions), 0)

    def next_offsets(self) -> dict[int, int]:
        try:
            found = self._reader.consume(5000, 0.2)
        except KafkaException:
            found = []
        for message in found:
            value = message.value()
            if not message.error() and message.key() == OFFSET_KEY and value:
                progress = json.loads(value)
                self._next[message.partition() or 0] = progress["next_offset"]
                self.formats[message.partition() or 0] = progress["format"]
        return dict(self._next)

    def close(self) -> None:
        self._reader.close()


class Fleet:
    """Workers by name, each started again when it has ended, unless it is removed."""

    def __init__(self, kafka: str, directory: Path, name: str, partitions: int) -> None:
        self._kafka, self._directory = kafka, directory
        self._shops = Shops.on_every_partition(name, partitions)
        self._batches = self._shops.batches(2, hours=12, sightings=500)
        self.feed = Feed(kafka, self._batches)
        self.checkpoints = Checkpoints(kafka, partitions)
        self.workers: dict[str, Worker] = {}

    def worker(self, name: str, command: Sequence[str | Path] | None = None, **settings: str) -> Worker:
        """A worker of the fleet's group that nobody starts again."""
        first = self._shops.names[0]
        more = {"STREAM_GROUP": first, **settings}
        return Worker(self._directory, self._kafka, self._shops, name=f"{first}-{name}", command=command, **more)

    def add(self, *names: str, command: Sequence[str | Path] | None = None, **settings: str) -> None:
        """Start workers; `command` is what else to run instead of `footfall stream`."""
        for name in names:
            self.workers[name] = self.worker(name, command, **settings)

    def remove(self, name: str) -> None:
        """SIGTERM: it ends well, and is not started again."""
        worker = self.workers.pop(name)
        worker.child.stop(60)
        assert worker.child.exit_code() == 0, worker.child.tail()

    def keep_alive(self) -> None:
        """The supervisor's look."""
        for worker in self.workers.values():
            worker.keep_alive()

    def tick(self) -> None:
        """What goes on while a test waits: the supervisor's look, and some more messages."""
        self.keep_alive()
        self.feed.send(_AT_A_TIME)

    def until(self, condition: Callable[[], bool], wait_s: float = 120) -> None:
        until(condition, self.tick, wait_s)

    def work_for(self, duration_s: float) -> None:
        """Go on for as long as a fault lasts."""
        end = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() > end)

    def recover(self, from_what: str) -> None:
        """Until every partition has committed a step whose messages had not been taken when the fault struck."""
        started = time.monotonic()
        before = self.checkpoints.next_offsets()

        def moved() -> bool:
            assert self.feed.left, "the story is too short for this test"
            now = self.checkpoints.next_offsets()
            return all(now[number] > before[number] for number in before)

        self.until(moved)
        log.info("%s: recovered after %.1f s", from_what, time.monotonic() - started)

    def end(self) -> None:
        self.checkpoints.close()
        for worker in self.workers.values():
            worker.end()

    def assert_exact(self) -> None:
        """Send what is left, and compare once all of it is taken."""
        self.feed.send()
        self.feed.finish()
        drain(self._kafka, self.tick)
        assert_exact(self._kafka, self._shops, self._batches)


@contextmanager
def fleet_on(kafka: str, directory: Path, name: str, partitions: int) -> Iterator[Fleet]:
    """A fleet without workers, with a store on each partition; the workers that it has at the end are ended."""
    fleet = Fleet(kafka, directory, name, partitions)
    try:
        yield fleet
    finally:
        fleet.end()
