"""One world's log taken by a job: in any chunks, by one worker or several, with restarts from its checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from footfall_events.rows import decode_rows
from footfall_events.schemas import STORE_MINUTES, VISITS
from footfall_events.topics import STORE_MINUTES as STORE_MINUTES_TOPIC
from footfall_events.topics import VISITS as VISITS_TOPIC
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.journal import Layout
from footfall_streams.state import State
from footfall_streams.step import Step

from tests.property.worlds import Row, Tables, World

OFFSET_MASK = (1 << 48) - 1
_KEYED = {VISITS_TOPIC.name: (VISITS, "visit_id"), STORE_MINUTES_TOPIC.name: (STORE_MINUTES, "minute")}
SMALL = Layout(segment_rows=5, least_rows=1, times=2, slack_rows=3)
"""Journals that give up segments within the few rows of a world."""


class Worker:
    """A job, the tables that its outputs make, and its checkpoint: the last value of every key, no tombstones."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.job = StoreJob(world.chain(), world.partition_of, SMALL)
        self.tables = Tables()
        self.checkpoint: dict[int, dict[bytes, bytes]] = {number: {} for number in set(world.partitions.values())}
        self.changed: Mapping[int, State] = {}
        self.counts: Counter[str] = Counter()

    def take(self, chunk: Sequence[Message]) -> Step:
        step = self.job.take(chunk)
        check_step(step, chunk)
        self.tables.add(step)
        self.changed = step.state
        for partition, changed in step.state.items():
            kept = {**self.checkpoint[partition], **changed}
            self.checkpoint[partition] = {key: value for key, value in kept.items() if value is not None}
        self.counts += step.counts
        return step

    def restored(self, world: World | None = None) -> StoreJob:
        """A new job that starts from the checkpoint, with the stores of that world if one is given."""
        job = StoreJob((world or self._world).chain(), self._world.partition_of, SMALL)
        for partition, entries in self.checkpoint.items():
            job.restore(partition, 0, dict(entries))
        return job

    def restart(self, world: World | None = None) -> None:
        self.job = self.restored(world)


def check_step(step: Step, chunk: Sequence[Message]) -> None:
    """One net row a key, stamped with a message of this chunk and sent under its store's key."""
    sent = {(message.partition, message.offset) for message in chunk}
    for partition, outputs in step.outputs.items():
        keys: Counter[Any] = Counter()
        for output in outputs:
            if output.topic not in _KEYED:
                continue
            schema, name = _KEYED[output.topic]
            for row in decode_rows(output.value, schema).to_pylist():
                keys[output.topic, row["store_id"], row[name]] += 1
                assert (partition, row["version"] & OFFSET_MASK) in sent, f"{row} is stamped outside its chunk"
                assert output.key == row["store_id"].encode()
        assert not keys or max(keys.values()) == 1, "two rows of one key in a step"


def visits_in(step: Step) -> list[Row]:
    """Rows of visits that the step sends, withdrawals among them."""
    outputs = [output for outputs in step.outputs.values() for output in outputs if output.topic == VISITS_TOPIC.name]
    return [row for output in outputs for row in decode_rows(output.value, VISITS).to_pylist()]


def chunks(items: Sequence[Any], cuts: Sequence[int]) -> Iterator[Sequence[Any]]:
    """The items in pieces that end at the cuts."""
    for start, end in zip([0, *cuts], [*cuts, len(items)], strict=True):
        yield items[start:end]


def one_by_one(length: int) -> range:
    return range(1, length)


def random_cuts(random: Random, length: int, most: int = 10) -> list[int]:
    """At most that many cuts, ascending; none is one chunk of everything."""
    return sorted(random.sample(range(1, length), min(random.randrange(most + 1), length - 1)))


def run_world(world: World, cuts: Sequence[int], between: Callable[[Worker], None] | None = None) -> Worker:
    """The worker after the world's log in chunks that end at the cuts; `between` is called after each chunk."""
    worker = Worker(world)
    for chunk in chunks(world.log(), cuts):
        worker.take(chunk)
        if between:
            between(worker)
    return worker
