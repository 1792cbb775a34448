"""Minutes by hand: what one presence adds at the edges of a minute, and when a minute is published and final."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from footfall_streams.columns import Columns
from footfall_streams.minutes import (
    Deltas,
    Minutes,
    add_fold,
    add_points,
    holds,
    minute_keys,
    starts_ms,
    stores_of,
)
from footfall_streams.presences import NEVER_ENTERED, NEVER_NEAR, PRESENCE, Fold, PresenceRows
from footfall_streams.watermark import MINUTE_MS

FIRST = 29_460_240  # minutes since 1970 at 2026-01-05 12:00 UTC
NOON = FIRST * MINUTE_MS
GAP_MS = 900_000
LATE = FIRST + 1000  # a minute by which everything here is over


class Stay(NamedTuple):
    """A presence in seconds after noon; `entered` None = it never did."""

    first: float
    entered: float | None
    left: float
    closed: bool = True
    store: int = 0


class Counts(NamedTuple):
    """A minute's counters but for sensors."""

    present: int = 0
    entries: int = 0
    exits: int = 0
    passers_by: int = 0
    pending: int = 0


def ms(second: float) -> int:
    return NOON + round(second * 1000)


def rows_of(*stays: Stay) -> PresenceRows:
    rows = np.zeros(len(stays), PRESENCE)
    for row, one in zip(rows, stays, strict=True):
        row["store"], row["first"], row["last"], row["closed"] = one.store, ms(one.first), ms(one.left), one.closed
        row["entered"] = NEVER_ENTERED if one.entered is None else ms(one.entered)
        row["left"] = NEVER_NEAR if one.entered is None else ms(one.left)
    return Columns.from_records(rows)


def folded(minutes: Minutes, before: list[Stay], after: list[Stay], group: list[int]) -> list[int]:
    """Minutes, from noon, that the merge of `before` into `after` changes."""
    deltas = Deltas()
    add_fold(deltas, Fold(rows_of(*before), rows_of(*after), np.array(group, np.int64)))
    changed(minutes)
    minutes.apply(deltas)
    return changed(minutes)


def changed(minutes: Minutes) -> list[int]:
    """Minutes, from noon, that are to be written; afterwards none is."""
    found: list[int] = (minutes.rows["key"][minutes.rows["written"] == 0] - FIRST).tolist()
    minutes.rows["written"] = 1
    return found


def counted(minutes: Minutes) -> dict[int, Counts]:
    """Counters of every minute, from noon, that has any."""
    found = {int(row["key"]) - FIRST: Counts(*(int(row[name]) for name in Counts._fields)) for row in minutes.rows}
    return {minute: counts for minute, counts in found.items() if any(counts)}


ONE_PRESENCE = [
    pytest.param(
        Stay(10, 10, 130),
        {0: Counts(present=1, entries=1), 1: Counts(present=1), 2: Counts(exits=1)},
        id="inside at the end of two minutes",
    ),
    pytest.param(
        Stay(60, 60, 130),
        {0: Counts(present=1), 1: Counts(present=1, entries=1), 2: Counts(exits=1)},
        id="who enters exactly on the minute is there at the end of the one before",
    ),
    pytest.param(
        Stay(60.001, 60.001, 130), {1: Counts(present=1, entries=1), 2: Counts(exits=1)}, id="a millisecond later not"
    ),
    pytest.param(
        Stay(10, 10, 120),
        {0: Counts(present=1, entries=1), 1: Counts(present=1), 2: Counts(exits=1)},
        id="who leaves exactly at a minute's end is there at it",
    ),
    pytest.param(
        Stay(10, 10, 119.999), {0: Counts(present=1, entries=1), 1: Counts(exits=1)}, id="a millisecond before it not"
    ),
    pytest.param(Stay(10, 10, 50), {0: Counts(entries=1, exits=1)}, id="in and out within a minute"),
    pytest.param(Stay(10, 10, 10), {0: Counts(entries=1, exits=1)}, id="one instant"),
    pytest.param(
        Stay(60, 60, 60), {0: Counts(present=1), 1: Counts(entries=1, exits=1)}, id="one instant, on the minute"
    ),
    pytest.param(
        Stay(10, 70, 130),
        {1: Counts(present=1, entries=1), 2: Counts(exits=1)},
        id="counted from when it entered, not from when it was first seen",
    ),
    pytest.param(Stay(59.999, None, 130), {0: Counts(passers_by=1)}, id="a passer-by where it was first seen"),
    pytest.param(Stay(60, None, 130), {1: Counts(passers_by=1)}, id="on the minute, in the one that begins"),
    pytest.param(
        Stay(10, 70, 130, closed=False),
        {1: Counts(present=1, pending=1)},
        id="an open one is present, and its entry pending",
    ),
    pytest.param(Stay(10, None, 130, closed=False), {0: Counts(pending=1)}, id="an open passer-by is pending"),
]


@pytest.mark.parametrize(("stay", "wanted"), ONE_PRESENCE)
def test_what_one_presence_adds(stay: Stay, wanted: dict[int, Counts]) -> None:
    minutes = Minutes(2)
    assert set(folded(minutes, [], [stay], [])) == set(wanted)
    assert counted(minutes) == wanted


GROWING = [
    pytest.param([Stay(70, 70, 130)], Stay(10, 10, 130), id="earlier"),
    pytest.param([Stay(70, 70, 130)], Stay(70, 70, 400), id="later"),
    pytest.param([Stay(70, 70, 130)], Stay(0, 60, 300), id="both ways"),
    pytest.param([Stay(70, 70, 100)], Stay(70, 70, 190), id="from inside one minute to the next"),
    pytest.param([Stay(10, None, 20)], Stay(10, 15, 300), id="a passer-by that enters after all"),
    pytest.param([Stay(10, 10, 130), Stay(600, 600, 730)], Stay(10, 10, 730), id="two become one"),
    pytest.param([Stay(600, 600, 730), Stay(10, 10, 130)], Stay(10, 10, 730), id="in either order"),
    pytest.param([Stay(10, None, 20), Stay(600, 600, 730)], Stay(10, 600, 730), id="a passer-by and a visitor"),
    pytest.param([Stay(10, 10, 20), Stay(600, 600, 610), Stay(1200, 1230, 1300)], Stay(10, 10, 1300), id="three"),
]


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("before", "after"), GROWING)
def test_a_merge_leaves_what_the_merged_presence_alone_would_add(before: list[Stay], after: Stay, closed: bool) -> None:
    after = after._replace(closed=closed)
    grown, alone = Minutes(2), Minutes(2)
    folded(grown, [], before, [])
    folded(grown, before, [after], [0] * len(before))
    folded(alone, [], [after], [])
    assert counted(grown) == counted(alone)


def test_a_bystander_of_a_merge_changes_nothing() -> None:
    minutes = Minutes(2)
    first, other, grown = Stay(10, 10, 130), Stay(5000, 5000, 5100), Stay(10, 10, 190)
    folded(minutes, [], [first, other], [])
    assert folded(minutes, [first, other], [grown, other], [0, 1]) == [2, 3]


def test_closing_turns_what_is_pending_into_counts() -> None:
    minutes, deltas = Minutes(2), Deltas()
    folded(minutes, [], [Stay(10, 10, 130, closed=False), Stay(70, None, 80, closed=False)], [])
    add_points(deltas, rows_of(Stay(10, 10, 130, closed=False), Stay(70, None, 80, closed=False)), -1)
    add_points(deltas, rows_of(Stay(10, 10, 130), Stay(70, None, 80)), 1)
    minutes.apply(deltas)
    assert counted(minutes) == {
        0: Counts(present=1, entries=1),
        1: Counts(present=1, passers_by=1),
        2: Counts(exits=1),
    }


def test_stores_do_not_share_minutes() -> None:
    minutes = Minutes(2)
    folded(minutes, [], [Stay(10, 10, 70, store=0), Stay(10, 10, 70, store=1)], [])
    shown = zip(stores_of(minutes.rows["key"]).tolist(), starts_ms(minutes.rows["key"]).tolist(), strict=True)
    assert list(shown) == [(0, NOON), (0, NOON + MINUTE_MS), (1, NOON), (1, NOON + MINUTE_MS)]
    assert minutes.rows["entries"].tolist() == [1, 0, 1, 0]


def test_what_is_added_and_taken_back_at_once_changes_no_minute() -> None:
    deltas = Deltas()
    add_points(deltas, rows_of(Stay(10, 10, 130)), 1)
    add_points(deltas, rows_of(Stay(10, 10, 130)), -1)
    minutes = Minutes(2)
    minutes.apply(deltas)
    assert len(minutes.rows) == 0


# -- publishing --------------------------------------------------------------------------------------------


def key(minute: int, store: int = 0) -> int:
    return (store << 32) | (FIRST + minute)


def hear(minutes: Minutes, minute: int, *sensors: int) -> None:
    minutes.hear(np.full(len(sensors), key(minute)), np.array([1 << sensor for sensor in sensors], np.uint64))


def publish(
    minutes: Minutes, watermark_s: float, hold: int = LATE - FIRST, due: bool = True
) -> list[tuple[int, int, int]]:
    """Rows published, as (minute from noon, sensors, final)."""
    found = minutes.publish(np.array([due]), np.array([ms(watermark_s)]), np.array([GAP_MS]), np.array([FIRST + hold]))
    return [(int(row["key"]) - FIRST, int(np.bitwise_count(row["live"])), int(row["final"])) for row in found]


WHEN_OVER = [
    pytest.param(59.999, [], id="not before its end"),
    pytest.param(60, [(0, 1, 0)], id="at its end"),
    pytest.param(960, [(0, 1, 0)], id="not final when the gap is just over"),
    pytest.param(960.001, [(0, 1, 1)], id="final a millisecond after"),
]


@pytest.mark.parametrize(("watermark_s", "rows"), WHEN_OVER)
def test_a_minute_is_published_when_it_is_over_and_final_after_the_gap(
    watermark_s: float, rows: list[tuple[int, int, int]]
) -> None:
    minutes = Minutes(2)
    hear(minutes, 0, 3)
    assert publish(minutes, watermark_s) == rows


def test_a_minute_is_sent_once_more_when_it_is_final_and_then_only_if_it_changes() -> None:
    minutes = Minutes(2)
    hear(minutes, 0, 3)
    assert publish(minutes, 60) == [(0, 1, 0)]
    assert publish(minutes, 120) == []
    assert publish(minutes, 2000) == [(0, 1, 1)]
    assert publish(minutes, 3000) == []
    folded(minutes, [], [Stay(10, 10, 20)], [])
    assert publish(minutes, 3060) == [(0, 1, 1)]


def test_a_store_that_is_not_due_publishes_nothing() -> None:
    minutes = Minutes(2)
    hear(minutes, 0, 3)
    assert publish(minutes, 60, due=False) == []
    assert publish(minutes, 60) == [(0, 1, 0)]


def test_a_minute_is_not_final_while_an_open_presence_began_in_it() -> None:
    minutes = Minutes(2)
    stay = Stay(10, None, 10, closed=False)
    folded(minutes, [], [stay], [])
    assert publish(minutes, 2000) == [(0, 0, 0)]
    folded(minutes, [stay], [stay._replace(closed=True)], [0])
    assert publish(minutes, 2060) == [(0, 0, 1)]


@pytest.mark.parametrize(
    ("hold", "final"),
    [
        pytest.param(0, [0, 0, 0], id="inside until the first"),
        pytest.param(1, [1, 0, 0], id="until the second"),
        pytest.param(3, [1, 1, 1], id="later"),
    ],
)
def test_a_minute_is_not_final_while_someone_may_still_be_inside_at_its_end(hold: int, final: list[int]) -> None:
    minutes = Minutes(2)
    for minute in range(3):
        hear(minutes, minute, 3)
    assert [row[2] for row in publish(minutes, 5000, hold)] == final


def test_a_final_minute_is_not_final_any_more_when_a_late_presence_may_be_inside() -> None:
    minutes = Minutes(2)
    for minute in range(3):
        hear(minutes, minute, 3)
    assert [row[2] for row in publish(minutes, 5000)] == [1, 1, 1]
    assert publish(minutes, 5060, hold=1) == [(1, 1, 0), (2, 1, 0)]
    assert publish(minutes, 5120) == [(1, 1, 1), (2, 1, 1)]


@pytest.mark.parametrize("before", range(8))
def test_another_sensor_and_being_final_are_news_together(before: int) -> None:
    for after in range(before, 8):
        minutes = Minutes(2)
        folded(minutes, [], [Stay(10, 10, 20)], [])
        hear(minutes, 0, *range(before))
        assert publish(minutes, 60) == [(0, before, 0)]
        hear(minutes, 0, *range(after))
        assert publish(minutes, 5000) == [(0, after, 1)]


def test_what_comes_and_goes_between_two_publications_is_no_news() -> None:
    minutes = Minutes(2)
    passing, earlier = Stay(65, None, 70), Stay(10, None, 70)
    hear(minutes, 1, 3)
    assert publish(minutes, 120) == [(1, 1, 0)]
    folded(minutes, [], [passing], [])
    folded(minutes, [passing], [earlier], [0])
    assert publish(minutes, 180) == [(0, 0, 0)]


def test_a_sensor_counts_once_in_a_minute_however_often_it_beats() -> None:
    minutes = Minutes(2)
    hear(minutes, 0, 1, 1, 63)
    hear(minutes, 0, 1)
    hear(minutes, 1, 1)
    assert publish(minutes, 120) == [(0, 2, 0), (1, 1, 0)]
    changed(minutes)
    hear(minutes, 0, 1)
    assert changed(minutes) == [], "nothing new was heard"
    hear(minutes, 0, 2)
    assert changed(minutes) == [0]


def test_what_was_published_or_became_final_is_written() -> None:
    minutes = Minutes(2)
    hear(minutes, 0, 1)
    hear(minutes, 1, 1)
    assert changed(minutes) == [0, 1]
    assert publish(minutes, 60) == [(0, 1, 0)]
    assert changed(minutes) == [0]
    assert publish(minutes, 120) == [(1, 1, 0)]
    assert changed(minutes) == [1]


def test_minutes_stay_sorted_and_restored_ones_are_known() -> None:
    minutes, restored = Minutes(2), Minutes(2)
    for minute in (5, 1, 3):
        hear(minutes, minute, 1)
    assert (minutes.rows["key"] - FIRST).tolist() == [1, 3, 5]
    restored.add(minutes.rows[::-1])
    hear(restored, 3, 2)
    assert (restored.rows["key"] - FIRST).tolist() == [1, 3, 5]
    assert restored.rows["live"].tolist() == [2, 6, 2]


def settled_of(*heard: int) -> Minutes:
    """Minutes that are final, written, and set aside."""
    minutes = Minutes(2)
    for minute in heard:
        hear(minutes, minute, 1)
    assert [row[2] for row in publish(minutes, 9000)] == [1] * len(heard)
    changed(minutes)
    minutes.settle()
    assert (len(minutes.rows), [len(part) for part in minutes.parts()]) == (0, [0, len(heard)])
    return minutes


def test_only_what_is_final_published_and_written_settles() -> None:
    minutes = Minutes(2)
    for minute in (0, 1, 90):
        hear(minutes, minute, 1)
    publish(minutes, 3000)
    minutes.settle()
    assert len(minutes.rows) == 3, "no segment holds them yet"
    changed(minutes)
    hear(minutes, 1, 2)
    minutes.settle()
    assert (minutes.rows["key"] - FIRST).tolist() == [1, 90], "one is to be published again, one is not over"


def test_a_settled_minute_that_is_heard_again_goes_on_from_what_it_was() -> None:
    minutes = settled_of(0, 1, 2)
    hear(minutes, 1, 5)
    hear(minutes, 3, 1)
    assert [(int(row["key"]) - FIRST, int(row["live"])) for row in minutes.rows] == [(1, 0b100010), (3, 2)]
    assert [len(part) for part in minutes.parts()] == [2, 2]
    assert publish(minutes, 9060) == [(1, 2, 1), (3, 1, 1)]


def test_settled_minutes_in_which_a_late_presence_may_be_inside_are_not_final_any_more() -> None:
    minutes = settled_of(0, 1, 2)
    assert publish(minutes, 9060, hold=1) == [(1, 1, 0), (2, 1, 0)]
    assert publish(minutes, 9120) == [(1, 1, 1), (2, 1, 1)]


def test_minutes_are_forgotten_and_said_whether_they_had_settled_or_not() -> None:
    minutes = settled_of(0, 1, 2)
    hear(minutes, 0, 5)
    hear(minutes, 90, 5)
    oldest = np.array([NOON + 2 * MINUTE_MS, 0])
    assert (minutes.forget(oldest)["key"] - FIRST).tolist() == [1], "one is to be published again"
    publish(minutes, 9060)
    assert (minutes.forget(oldest)["key"] - FIRST).tolist() == [0]
    assert [(part["key"] - FIRST).tolist() for part in minutes.parts()] == [[90], [2]]


HOLDS = [
    pytest.param([Stay(10, 10, 130, closed=False)], 2, id="the minute in which it was last near"),
    pytest.param([Stay(10, 10, 120, closed=False)], 2, id="at a minute's end, the next"),
    pytest.param([Stay(10, 10, 119.999, closed=False)], 1, id="just before it, that one"),
    pytest.param([Stay(10, 10, 500, closed=False), Stay(10, 10, 130, closed=False)], 2, id="the first of several"),
    pytest.param([Stay(10, 10, 130)], None, id="a closed one holds nothing"),
    pytest.param([Stay(10, None, 130, closed=False)], None, id="nor one that never entered"),
]


@pytest.mark.parametrize(("stays", "minute"), HOLDS)
def test_the_first_minute_that_an_open_presence_may_still_change(stays: list[Stay], minute: int | None) -> None:
    never = np.iinfo(np.int64).max
    assert holds(rows_of(*stays), 2).tolist() == [never if minute is None else FIRST + minute, never]


def test_an_instant_on_the_minute_belongs_to_the_minute_that_begins() -> None:
    instants = np.array([ms(59.999), ms(60), ms(119.999)])
    assert (minute_keys(np.zeros(3, np.int32), instants) - FIRST).tolist() == [0, 1, 1]
