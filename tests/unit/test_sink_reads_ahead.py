"""What the sink does with its log while ClickHouse takes rows in."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
from footfall_events.errors import StoreUnavailable
from footfall_sinks.batch import Item, Place

from tests.unit.test_sink_consume import TOPIC, Scripted, message


class Busy(Scripted):
    """The log is looked at twice while rows are inserted; `looks` says how often it had been at each insert's end."""

    def __init__(self) -> None:
        super().__init__()
        self.an_insert_lasts = 2
        self.looks: list[int] = []

    def insert(self, table: str, rows: pa.Table) -> None:
        self.looks.append(len(self.waits_s))
        super().insert(table, rows)


class Losing(Busy):
    """The partition is another sink's from the third look on."""

    def take(self, wait_s: float) -> Sequence[tuple[Place, Item]]:
        if len(self.waits_s) == 3:
            self.sink.lose([(TOPIC, 0)])
        return super().take(wait_s)


def test_what_comes_meanwhile_is_taken_and_written_next() -> None:
    world = Busy()
    world.later = [[], [message(4)], [message(5)]]
    assert world.run(message(3)) == [("insert", "store_minutes_log", [3]), ("commit", {0: 4})]
    assert world.run() == [("insert", "store_minutes_log", [4, 5]), ("commit", {0: 6})]


def test_no_more_is_taken_than_fills_the_next_block() -> None:
    world = Busy()
    world.an_insert_lasts = 100
    world.later = [[], *([message(number) for number in range(first, first + 5)] for first in (4, 9))]
    assert world.run(message(3)) == [("insert", "store_minutes_log", [3]), ("commit", {0: 4})]
    assert world.looks == [3]
    world.sink.step(0.1)
    assert [event[2] for event in world.events if event[0] == "insert"] == [[4, 5, 6, 7, 8], [9, 10, 11, 12, 13]]
    # What waits does not wait for more than is there.
    assert world.waits_s[3] == 0


@pytest.mark.parametrize("refused", [set(), {3}], ids=["taken", "refused"])
def test_a_partition_lost_meanwhile_is_left_to_its_next_owner(refused: set[int]) -> None:
    world = Losing()
    world.refused = refused
    happened = world.run(message(3))
    assert [event[0] for event in happened] == ([] if refused else ["insert"])
    assert world.looks == [4]
    assert world.metric("footfall_sinks_dropped_blocks_total") == 1
    assert world.run() == []


def test_of_partitions_written_together_the_lost_one_alone_is_left_to_its_next_owner() -> None:
    world = Losing()
    assert world.run(message(3), message(7, partition=1)) == [
        ("insert", "store_minutes_log", [3, 7]),
        ("commit", {1: 8}),
    ]
    assert world.metric("footfall_sinks_dropped_blocks_total") == 1


def test_what_was_refused_beside_a_partition_that_is_lost_meanwhile_is_tried_by_itself() -> None:
    world = Losing()
    world.refused = {3}
    assert world.run(message(3), message(7, partition=1)) == [("insert", "store_minutes_log", [7]), ("commit", {1: 8})]


def test_nothing_is_taken_while_a_store_that_was_away_is_tried_again() -> None:
    world = Busy()
    world.insert_failures = [StoreUnavailable("down"), StoreUnavailable("down")]
    world.run(message(3))
    first = len(world.waits_s)
    world.run(after_s=5)
    assert len(world.waits_s) == first + 2
    assert world.looks == [first, first + 2]
