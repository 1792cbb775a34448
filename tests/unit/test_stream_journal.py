"""Journals: what a step appends, what it gives up, and what is found in them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from footfall_events.rows import encode_rows
from footfall_streams import journal
from footfall_streams.columns import Columns
from footfall_streams.journal import MINUTES, PRESENCES, Journals, Layout
from footfall_streams.presences import PRESENCE, identity_hash
from footfall_streams.state import State, read_segment

LAYOUT = Layout(segment_rows=3, least_rows=1, times=2, slack_rows=4)


def journals(*ids: str, layout: Layout = LAYOUT, partitions: Sequence[int] = (0, 1)) -> Journals:
    return Journals(PRESENCES, ids or ("s", "t"), partitions, layout)


def presences(*devices: int, store: int = 0, **changes: Any) -> Columns:
    """A presence of each device that no segment holds."""
    rows = Columns.zeros(len(devices), PRESENCE)
    rows["device"], rows["store"], rows["first"], rows["sightings"] = devices, store, 1000, 1
    for name, value in changes.items():
        rows[name] = value
    rows["key"] = identity_hash(rows)
    return rows


NONE = presences()


def test_rows_come_back_in_memory_as_they_were() -> None:
    rows = presences(2**64 - 1, 5, first=2**50, rssi=-90, epoch=2**32 - 1, day=-1)
    entries = journals().write([rows], NONE, {0})
    again = journals().restore(0, {key: value for _, key, value in entries})
    assert sorted(again.records().tolist()) == sorted(rows.records().tolist())
    assert rows["written"].tolist() == [1, 1]


def test_only_what_changed_since_is_written_and_in_the_partition_of_its_store() -> None:
    one, rows = journals(), Columns.concatenate([presences(1, 2), presences(3, store=1)])
    assert [(partition, key) for partition, key, _ in one.write([rows], NONE, {0, 1})] == [
        (0, b"presences/1"),
        (1, b"presences/1"),
    ]
    rows["written"][[1, 2]] = 0
    ((partition, key, value),) = one.write([rows], NONE, {0})
    assert (partition, key, read_segment(value or b"")["device"].to_pylist()) == (0, b"presences/2", [2])
    assert rows["written"].tolist() == [1, 2, 0], "partition 1 takes no part in the step"
    assert one.write([rows], NONE, {0}) == []


def test_many_rows_are_split_into_segments() -> None:
    rows = presences(*range(7))
    entries = journals().write([rows], NONE, {0})
    assert [(key, read_segment(value or b"").num_rows) for _, key, value in entries] == [
        (b"presences/1", 3),
        (b"presences/2", 3),
        (b"presences/3", 1),
    ]
    assert rows["written"].tolist() == [1, 1, 1, 2, 2, 2, 3]


def test_what_is_gone_does_not_come_back() -> None:
    one, rows = journals(), presences(1, 2)
    state = {key: value for _, key, value in one.write([rows], NONE, {0})}
    state |= {key: value for _, key, value in one.write([rows[1:]], rows[:1], {0})}
    assert journals().restore(0, state)["device"].tolist() == [2]


def test_the_oldest_segments_are_given_up_and_what_they_alone_hold_is_written_again() -> None:
    one, rows = journals(), presences(1, 2)
    state: State = {}
    for step in range(20):
        rows["sightings"][1], rows["written"][1] = step, 0
        state |= {key: value for _, key, value in one.write([rows], NONE, {0})}
    kept = {key: value for key, value in state.items() if value is not None}
    assert len(kept) <= LAYOUT.times * len(rows) + LAYOUT.slack_rows
    again = journals().restore(0, state)
    assert sorted(zip(again["device"].tolist(), again["sightings"].tolist(), strict=True)) == [(1, 1), (2, 19)]
    assert min(again["written"]) > 1, "the first segment is given up, and its row lies elsewhere"


def test_a_step_gives_up_at_most_twice_what_it_writes() -> None:
    one, rows = journals(layout=Layout(segment_rows=1, least_rows=1, times=1, slack_rows=0)), presences(*range(100))
    one.write([rows], NONE, {0})
    rows = rows[:10]
    rows["written"][:2] = 0
    entries = one.write([rows], NONE, {0})
    assert [key for _, key, value in entries if value is None] == [b"presences/%d" % number for number in range(1, 5)]
    assert len(entries) == 4 + 4, "two rows that changed, two that lay in what was given up"


def test_a_small_segment_counts_for_more_than_its_rows() -> None:
    layout = Layout(segment_rows=100, least_rows=50, times=1, slack_rows=100)
    one, rows = journals(layout=layout), presences(1)
    given_up = []
    for _ in range(4):
        rows["written"] = 0
        given_up += [key for _, key, value in one.write([rows], NONE, {0}) if value is None]
    assert given_up == [b"presences/1"]


def test_numbers_go_on_after_a_restore() -> None:
    rows = presences(1)
    state = {key: value for _, key, value in journals().write([rows], NONE, {0})}
    two = journals()
    found = two.restore(0, state)
    found["written"] = 0
    assert [key for _, key, _ in two.write([found], NONE, {0})] == [b"presences/2"]


def test_stores_are_known_by_their_names() -> None:
    rows = Columns.concatenate([presences(1), presences(2, store=1)])
    state = {key: value for _, key, value in journals(partitions=(0, 0)).write([rows], NONE, {0})}
    more = journals("a", "s", "t", partitions=(0, 0, 0))
    found = more.restore(0, state)
    assert sorted(zip(found["store"].tolist(), found["device"].tolist(), strict=True)) == [(1, 1), (2, 2)]
    assert (found["key"] == identity_hash(found)).all()


def test_minutes_are_told_apart_by_store_and_minute() -> None:
    rows = Columns.zeros(2, MINUTES.dtype)
    rows["key"], rows["present"] = [7, (1 << 32) | 7], [5, 6]
    entries = Journals(MINUTES, ("s", "t"), (0, 0), LAYOUT).write([rows], Columns.zeros(0, MINUTES.dtype), {0})
    found = Journals(MINUTES, ("r", "s", "t"), (0, 0, 0), LAYOUT).restore(0, {key: value for _, key, value in entries})
    assert found["key"].tolist() == [(1 << 32) | 7, (2 << 32) | 7]
    assert found["present"].tolist() == [5, 6]


def test_fields_that_an_older_release_did_not_know_are_zero_and_those_that_are_no_more_are_left_out() -> None:
    columns = {"store_id": ["s"], "gone": [False], "device": [7], "had_once": [1]}
    schema = pa.schema(
        [("store_id", pa.string()), ("gone", pa.bool_()), ("device", pa.uint64()), ("had_once", pa.int8())],
        {"format": "2"},
    )
    value = encode_rows(pa.RecordBatch.from_pydict(columns, schema))
    (row,) = journals().restore(0, {b"presences/4": value})
    assert (row["device"], row["sightings"], row["written"]) == (7, 0, 4)


@pytest.mark.parametrize("kind", [PRESENCES, MINUTES], ids=lambda kind: kind.name)
def test_a_segment_of_the_usual_size_stays_within_the_topics_limit(kind: journal.Kind) -> None:
    layout = Layout()
    rows = Columns.zeros(layout.segment_rows, kind.dtype)
    noise = np.random.default_rng(1)
    for name in kind.dtype.names or ():
        if name not in ("store", "key", "written"):
            rows[name] = noise.integers(0, 100, len(rows))
    ((_, _, value),) = Journals(kind, ("a" * 64,), (0,), layout).write([rows], Columns.zeros(0, kind.dtype), {0})
    assert len(value or b"") < 4 * 1024 * 1024
