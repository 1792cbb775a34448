"""The sink's loop while a store is slow, away at the end, or a message cannot be fetched."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pytest
from footfall_events.errors import BrokerUnavailable, StoreUnavailable
from footfall_sinks.batch import Item, Place
from footfall_sinks.settings import SinkSettings

from tests.unit.test_sink_consume import TOPIC, Scripted, message


class Slow(Scripted):
    """Every insert and every dead letter takes six seconds."""

    def insert(self, table: str, rows: pa.Table) -> None:
        super().insert(table, rows)
        self.now_s += 6

    def send(self, place: Place, item: Item, reason: str) -> None:
        super().send(place, item, reason)
        self.now_s += 6

    def steps(self, messages: Iterable[tuple[Place, Item]], number: int) -> list[list[str]]:
        """What each step did, the first of which takes the messages in."""
        self.arriving = list(messages)
        happened = []
        for _ in range(number):
            self.events = []
            self.sink.step(0)
            self.now_s += 2
            happened.append([event[0] for event in self.events])
        return happened


def test_a_step_writes_for_ten_seconds_and_commits_what_it_wrote_before_it_polls_again() -> None:
    world = Slow()
    messages = [message(number) for number in range(26)]  # five full blocks and a message
    assert world.steps(messages, 4) == [
        ["insert", "insert", "commit", "pause"],
        ["pause", "insert", "insert", "commit", "pause"],
        ["pause", "insert", "commit", "resume"],
        ["insert", "commit"],
    ]
    assert world.metric("footfall_sinks_paused") == 0


def test_a_block_full_of_poison_does_not_hold_up_the_polling() -> None:
    world = Slow()
    poison = [message(number, b"rubbish") for number in range(5)]
    assert world.steps(poison, 4) == [
        ["dead", "dead", "pause"],
        ["pause", "dead", "dead", "pause"],
        ["pause", "dead", "commit", "resume"],
        [],
    ]


def test_a_block_that_the_store_refuses_does_not_hold_up_the_polling() -> None:
    world = Slow()
    world.refused = {4}
    assert world.steps([message(number) for number in (2, 3, 4, 5)], 4) == [
        [],
        ["insert", "insert", "commit", "pause"],
        ["pause", "dead", "insert", "commit", "resume"],
        [],
    ]


@pytest.mark.parametrize("what", ["store", "broker"])
def test_the_end_tries_nothing_while_something_is_away(what: str) -> None:
    world = Scripted()
    if what == "store":
        world.insert_failures = [StoreUnavailable("hangs")]
    else:
        world.commit_failures = [BrokerUnavailable("hangs")]
    world.run(message(3))
    world.sink.finish()
    assert world.events == []


def test_a_message_that_cannot_be_fetched_is_dead_lettered_and_passed() -> None:
    world = Scripted()
    unread = (TOPIC, 0), Item(4, None, None, "unpacks_to_too_much")
    assert world.run(message(3), unread, message(5)) == [
        ("dead", "unpacks_to_too_much", TOPIC, 0, 4, b""),
        ("insert", "store_minutes_log", [3, 5]),
        ("commit", {0: 6}),
    ]


def test_the_group_waits_for_a_sink_longer_than_any_step_can_take() -> None:
    read = SinkSettings.from_mapping
    given = {"FOOTFALL_BOOTSTRAP": "localhost:9092", "FOOTFALL_CLICKHOUSE": "http://localhost:8123"}
    # Connecting is tried twice, and ten seconds of writing come before the insert that hangs.
    assert read(given).longest_step_s > 2 * 60 + 10
    assert read({**given, "FOOTFALL_STORE_TIMEOUT_S": "600"}).longest_step_s > 2 * 600 + 10
