"""The sink's loop against a scripted log and store: insert, then commit; retry the same; bury what is poisoned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from footfall_events import schemas
from footfall_events.errors import BrokerUnavailable, PoisonEvent, StoreUnavailable
from footfall_events.rows import encode_rows
from footfall_sinks.batch import Item, Limits, Place, open_item
from footfall_sinks.consume import Sink
from footfall_sinks.metrics import SinkMetrics
from prometheus_client import CollectorRegistry

TOPIC = "store_minutes.v1"
SENSOR_MINUTES = "sensor_minutes.v1"


def minute(present: int) -> bytes:
    """One row of store_minutes.v1, recognisable by `present`."""
    row: dict[str, Any] = {field.name: 0 for field in schemas.STORE_MINUTES}
    row |= {"store_id": "s1", "minute": datetime(2026, 1, 5, 9, tzinfo=UTC), "business_date": date(2026, 1, 5)}
    row["present"] = present
    return encode_rows(pa.RecordBatch.from_pylist([row], schema=schemas.STORE_MINUTES))


def sensor_minute(offset: int) -> tuple[Place, Item]:
    """One row of sensor_minutes.v1, recognisable by its frames."""
    row: dict[str, Any] = {field.name: 0 for field in schemas.SENSOR_MINUTES}
    row |= {"store_id": "s1", "sensor_id": "door", "boot_id": "b", "business_date": date(2026, 1, 5), "frames": offset}
    row["minute"] = datetime(2026, 1, 5, 9, tzinfo=UTC)
    value = encode_rows(pa.RecordBatch.from_pylist([row], schema=schemas.SENSOR_MINUTES))
    return (SENSOR_MINUTES, 0), open_item(SENSOR_MINUTES, offset, b"s1", value)


def message(offset: int, value: bytes | None = None, partition: int = 0) -> tuple[Place, Item]:
    return (TOPIC, partition), open_item(TOPIC, offset, b"s1", minute(offset) if value is None else value)


class Insert(Future[float]):
    """What is done when it is asked for; that it is over is known earlier."""

    def __init__(self, insert: Callable[[], float], is_over: Callable[[], bool]) -> None:
        super().__init__()
        self._insert, self._is_over = insert, is_over

    def done(self) -> bool:
        return self._is_over()

    def result(self, timeout: float | None = None) -> float:
        return self._insert()


class Scripted(Executor):
    """A log, a store and a dead letter topic that write down what happens, in order, and fail on demand.

    An insert lasts as long as so many looks at the log.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.arriving: list[tuple[Place, Item]] = []
        self.later: list[list[tuple[Place, Item]]] = []
        self.an_insert_lasts = 0
        self.waits_s: list[float] = []
        self.insert_failures: list[Exception] = []
        self.commit_failures: list[Exception] = []
        self.dead_letter_failures: list[Exception] = []
        self.refused: set[int] = set()
        self.now_s = 0.0
        self.registry = CollectorRegistry()
        metrics, limits = SinkMetrics(self.registry), Limits(rows=5)
        self.sink = Sink(self, self, self, metrics, limits=limits, inserts=self, clock=lambda: self.now_s)

    def take(self, wait_s: float) -> Sequence[tuple[Place, Item]]:
        self.waits_s.append(wait_s)
        taken, self.arriving = self.arriving, self.later.pop(0) if self.later else []
        return taken

    def pause(self) -> None:
        self.events.append(("pause",))

    def resume(self) -> None:
        self.events.append(("resume",))

    def commit(self, offsets: Mapping[Place, int]) -> None:
        if self.commit_failures:
            raise self.commit_failures.pop(0)
        self.events.append(("commit", {partition: offset for (_, partition), offset in offsets.items()}))

    def insert(self, table: str, rows: pa.Table) -> None:
        present = rows.column("frames" if table == "sensor_minutes_log" else "present").to_pylist()
        if self.insert_failures:
            self.events.append(("failed", present))
            raise self.insert_failures.pop(0)
        if self.refused & set(present):
            raise PoisonEvent("store_rejected")
        self.events.append(("insert", table, present))

    def send(self, place: Place, item: Item, reason: str) -> None:
        if self.dead_letter_failures:
            raise self.dead_letter_failures.pop(0)
        self.events.append(("dead", reason, *place, item.offset, item.value))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        over = len(self.waits_s) + self.an_insert_lasts
        return Insert(partial(fn, *args), lambda: len(self.waits_s) >= over)

    def run(self, *messages: tuple[Place, Item], after_s: float = 2.0) -> list[tuple[Any, ...]]:
        """Deliver, let time pass, step again; what happened since the last call."""
        self.arriving = list(messages)
        self.sink.step(0)
        self.now_s += after_s
        self.sink.step(0)
        happened, self.events = self.events, []
        return happened

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def world() -> Scripted:
    return Scripted()


def test_rows_are_inserted_and_then_the_offset_after_them_is_committed(world: Scripted) -> None:
    assert world.run(message(3), message(4)) == [
        ("insert", "store_minutes_log", [3, 4]),
        ("commit", {0: 5}),
    ]


def test_nothing_is_written_before_a_limit_is_reached(world: Scripted) -> None:
    assert world.run(message(3), after_s=0.1) == []


def test_while_the_oldest_topic_is_written_the_others_take_in_what_comes(world: Scripted) -> None:
    world.arriving = [message(3), sensor_minute(7)]
    world.sink.step(0.1)
    world.now_s = 2.0
    world.sink.step(0.1)
    world.arriving = [sensor_minute(8), message(4)]
    world.sink.step(0.1)
    assert world.events == [
        ("insert", "store_minutes_log", [3]),
        ("commit", {0: 4}),
        ("insert", "sensor_minutes_log", [7, 8]),
        ("commit", {0: 9}),
    ]
    # What is due does not wait for more.
    assert world.waits_s == [0.1, 0.0, 0.0]


def test_what_is_due_of_one_topic_is_one_insert_whatever_its_partition(world: Scripted) -> None:
    assert world.run(message(3), message(7, partition=1), message(4), message(5, partition=2)) == [
        ("insert", "store_minutes_log", [3, 4, 7, 5]),
        ("commit", {0: 5, 1: 8, 2: 6}),
    ]


def test_no_insert_takes_more_rows_than_a_block(world: Scripted) -> None:
    messages = [message(number, partition=number // 10) for number in (1, 2, 3, 11, 12, 13, 21, 22)]
    assert world.run(*messages) == [
        ("insert", "store_minutes_log", [1, 2, 3]),
        ("insert", "store_minutes_log", [11, 12, 13, 21, 22]),
        ("commit", {0: 4, 1: 14, 2: 23}),
    ]


def test_of_partitions_that_the_store_refuses_together_only_the_message_that_it_refuses_alone_is_poisoned(
    world: Scripted,
) -> None:
    world.refused = {12}
    assert world.run(message(1), message(11, partition=1), message(12, partition=1), message(21, partition=2)) == [
        ("insert", "store_minutes_log", [1]),
        ("insert", "store_minutes_log", [11]),
        ("dead", "store_rejected", TOPIC, 1, 12, minute(12)),
        ("insert", "store_minutes_log", [21]),
        ("commit", {0: 2, 1: 13, 2: 22}),
    ]


def test_what_came_while_a_block_was_written_has_waited_since(world: Scripted) -> None:
    world.run(message(3))
    world.now_s += 0.6
    world.arriving = [message(4)]
    world.sink.step(0)
    assert world.events == [("insert", "store_minutes_log", [4]), ("commit", {0: 5})]


def test_nothing_is_committed_while_the_store_is_away(world: Scripted) -> None:
    world.insert_failures = [StoreUnavailable("down")]
    assert world.run(message(3)) == [("failed", [3]), ("pause",)]


def test_a_retry_has_the_same_rows_and_then_resumes(world: Scripted) -> None:
    world.insert_failures = [StoreUnavailable("down"), StoreUnavailable("down")]
    happened = world.run(message(3), message(4)) + world.run(after_s=5) + world.run(after_s=5)
    assert [event for event in happened if event[0] != "pause"] == [
        ("failed", [3, 4]),
        ("failed", [3, 4]),
        ("insert", "store_minutes_log", [3, 4]),
        ("commit", {0: 5}),
        ("resume",),
    ]


def test_what_was_inserted_before_the_store_went_is_committed(world: Scripted) -> None:
    world.insert_failures = []
    world.arriving = [message(offset) for offset in range(10)]  # two full blocks
    original = world.insert

    def second_fails(table: str, rows: pa.Table) -> None:
        if rows.column("present").to_pylist() == [5, 6, 7, 8, 9]:
            raise StoreUnavailable("down")
        original(table, rows)

    world.insert = second_fails  # type: ignore[method-assign]
    world.sink.step(0)
    assert ("commit", {0: 5}) in world.events
    assert world.events[-1] == ("pause",)


def test_a_poisoned_message_is_dead_lettered_untouched_and_the_rest_goes_on(world: Scripted) -> None:
    assert world.run(message(3), message(4, b"rubbish"), message(5)) == [
        ("dead", "not_arrow", TOPIC, 0, 4, b"rubbish"),
        ("insert", "store_minutes_log", [3, 5]),
        ("commit", {0: 6}),
    ]
    assert world.metric("footfall_sinks_dead_letters_total", reason="not_arrow") == 1


def test_poison_is_not_committed_until_its_dead_letter_is_delivered(world: Scripted) -> None:
    world.dead_letter_failures = [BrokerUnavailable("down")]
    assert world.run(message(4, b"rubbish")) == [("pause",)]
    happened = world.run(after_s=1)
    assert [event[0] for event in happened if event[0] != "pause"] == ["dead", "commit", "resume"]


def test_a_retry_does_not_dead_letter_twice(world: Scripted) -> None:
    world.insert_failures = [StoreUnavailable("down")]
    happened = world.run(message(3), message(4, b"rubbish")) + world.run(after_s=1)
    assert [event[0] for event in happened].count("dead") == 1
    assert happened[-2:] == [("commit", {0: 5}), ("resume",)]


def test_only_the_message_that_the_store_refuses_is_dead_lettered(world: Scripted) -> None:
    world.refused = {4}
    happened = world.run(message(3), message(4), message(5))
    assert [event[:2] for event in happened if event[0] == "dead"] == [("dead", "store_rejected")]
    assert [event[2] for event in happened if event[0] == "insert"] == [[3], [5]]
    assert happened[-1] == ("commit", {0: 6})


def test_a_failed_commit_is_repeated_without_another_row(world: Scripted) -> None:
    world.commit_failures = [BrokerUnavailable("down")]
    happened = world.run(message(3)) + world.run(after_s=1)
    assert [event[0] for event in happened if event[0] != "pause"] == ["insert", "commit", "resume"]


def test_a_lost_partition_is_neither_inserted_nor_committed(world: Scripted) -> None:
    world.arriving = [message(3)]
    world.sink.step(0)
    world.sink.lose([(TOPIC, 0)])
    assert world.run() == []


def test_the_end_writes_what_was_taken(world: Scripted) -> None:
    world.arriving = [message(3)]
    world.sink.step(0)
    world.sink.finish()
    assert [event[0] for event in world.events] == ["insert", "commit"]


def test_a_full_block_does_not_wait(world: Scripted) -> None:
    world.arriving = [message(offset) for offset in range(6)]
    world.sink.step(0)
    assert world.events == [("insert", "store_minutes_log", [0, 1, 2, 3, 4]), ("commit", {0: 5})]
