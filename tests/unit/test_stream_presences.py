"""Presences by hand: chains, cuts, closing, and what kind of visit each is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pytest
from footfall_events.schemas import Role
from footfall_events.stores import parse_chain
from footfall_streams.columns import Columns
from footfall_streams.presences import (
    NEVER_ENTERED,
    NEVER_NEAR,
    PRESENCE,
    Fold,
    PresenceRows,
    Presences,
    chains,
    dwell_s,
    identity_hash,
    roles,
    single_sightings,
)
from footfall_streams.store_days import StoreDays
from numpy.typing import NDArray

NOON = 1_767_614_400_000  # 2026-01-05 12:00 UTC, a Monday
CUTOVER = NOON + 16 * 3_600_000  # 04:00 on the next day
GAP_MS = 900_000


class Heard(NamedTuple):
    """One sighting, `at` seconds after noon."""

    at: float
    rssi: int = -50
    span_ms: int = 0
    device: int = 1
    epoch: int = 1
    store: int = 0
    address_class: int = 1
    offset: int = 0


def days_of(*stores: dict[str, Any]) -> StoreDays:
    """Business days of stores `a`, `b`, …; one with every default if none is given."""
    tables = [{"id": "ab"[i], "sensors": ["x"], **store} for i, store in enumerate(stores or ({},))]
    return StoreDays(list(parse_chain({"stores": tables}).stores.values()))


def singles(days: StoreDays, heard: Sequence[Heard]) -> PresenceRows:
    first = np.array([NOON + round(one.at * 1000) for one in heard], np.int64)
    told: dict[str, NDArray[Any]] = {
        "first": first,
        "last": first + np.array([one.span_ms for one in heard], np.int64),
        "store": np.array([one.store for one in heard], np.int32),
        "device": np.array([one.device for one in heard], np.uint64),
        "epoch": np.array([one.epoch for one in heard], np.uint32),
        "class": np.array([one.address_class for one in heard], np.int8),
        "touched": np.array([one.offset for one in heard], np.int64),
        "rssi": np.array([one.rssi for one in heard], np.int8),
    }
    return single_sightings(told, days.lookup(told["store"], first))


def presences_of(*arrivals: Sequence[Heard], days: StoreDays | None = None) -> Presences:
    """The presences after the sightings came in these chunks."""
    days = days or days_of()
    found = Presences()
    for chunk in arrivals:
        found.merge(singles(days, chunk), days)
    return found


def seconds(value: int) -> float | None:
    return None if value in (NEVER_ENTERED, NEVER_NEAR) else (value - NOON) / 1000


def extents(found: Presences) -> list[tuple[float | None, ...]]:
    """First, last, entered and left of each, in seconds after noon."""
    rows = np.sort(found.rows.records(), order=["first", "device", "epoch", "store"])
    return [tuple(seconds(int(row[name])) for name in ("first", "last", "entered", "left")) for row in rows]


CHAINS = [
    pytest.param([Heard(0)], [(0, 0, 0, 0)], id="one sighting is a presence"),
    pytest.param([Heard(0, span_ms=1500)], [(0, 1.5, 0, 1.5)], id="it lasts as long as its burst"),
    pytest.param([Heard(0), Heard(900)], [(0, 900, 0, 900)], id="a silence of exactly the gap does not split"),
    pytest.param([Heard(0), Heard(900.001)], [(0, 0, 0, 0), (900.001,) * 4], id="a longer one does"),
    pytest.param([Heard(0, span_ms=5000), Heard(905)], [(0, 905, 0, 905)], id="a silence starts at the burst's end"),
    pytest.param(
        [Heard(0, span_ms=9000), Heard(1), Heard(909)], [(0, 909, 0, 909)], id="at the latest end, not the last start"
    ),
    pytest.param([Heard(0), Heard(1680), Heard(840)], [(0, 1680, 0, 1680)], id="a middle sighting joins two presences"),
    pytest.param(
        [Heard(0), Heard(901), Heard(1802)],
        [(0, 0, 0, 0), (901, 901, 901, 901), (1802, 1802, 1802, 1802)],
        id="three apart stay three",
    ),
    pytest.param(
        [Heard(0, -66), Heard(60, -65), Heard(120, -66)], [(0, 120, 60, 120)], id="enters at -65, stays at -66"
    ),
    pytest.param([Heard(0, -65), Heard(60, -70), Heard(120, -71)], [(0, 120, 0, 60)], id="stays at -70, not at -71"),
    pytest.param([Heard(0, -66), Heard(60, -90)], [(0, 60, None, 0)], id="never entered, however long"),
    pytest.param(
        [Heard(0, -70, 9000), Heard(3, -65)], [(0, 9, 3, 9)], id="what ends after entering counts, begun before or not"
    ),
    pytest.param([Heard(0, -65), Heard(0, -65)], [(0, 0, 0, 0)], id="two at one instant are one presence"),
    pytest.param(
        [Heard(0, device=1), Heard(10, device=2)], [(0, 0, 0, 0), (10, 10, 10, 10)], id="devices are kept apart"
    ),
    pytest.param([Heard(0, epoch=1), Heard(10, epoch=2)], [(0, 0, 0, 0), (10, 10, 10, 10)], id="and key epochs"),
    pytest.param(
        [Heard(57_599.999, span_ms=5000), Heard(57_600)],
        [(57_599.999, 57_604.999, 57_599.999, 57_604.999), (57_600, 57_600, 57_600, 57_600)],
        id="the cut-over cuts by the start, spans may reach over it",
    ),
]


@pytest.mark.parametrize(("heard", "wanted"), CHAINS)
def test_presences_of_every_arrival_order(heard: list[Heard], wanted: list[tuple[float | None, ...]]) -> None:
    for arrival in permutations(heard):
        assert extents(presences_of(*([one] for one in arrival))) == wanted, f"one by one: {arrival}"
        assert extents(presences_of(arrival)) == wanted, f"at once: {arrival}"
        assert extents(presences_of(arrival[:1], arrival[1:])) == wanted, f"in two: {arrival}"


def test_stores_are_kept_apart_and_each_has_its_own_gap() -> None:
    days = days_of({"rule": "retail"}, {"rule": "meraki"})
    heard = [Heard(0, store=0), Heard(121, store=0), Heard(0, store=1), Heard(121, store=1)]
    for arrival in permutations(heard):
        found = presences_of(*([one] for one in arrival), days=days)
        assert sorted((int(row["store"]), int(row["sightings"])) for row in found.rows) == [(0, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("apart", [pytest.param(0, id="one hash"), pytest.param(1, id="hashes with one beginning")])
def test_identities_that_the_sort_cannot_tell_apart_are_still_kept_apart(apart: int) -> None:
    days = days_of()
    heard = [Heard(0, device=1), Heard(5, device=2), Heard(10, device=2), Heard(20, device=1)]
    for sizes in ([4], [2, 2], [1, 1, 1, 1]):
        found, left = Presences(), heard
        for size in sizes:
            rows, left = singles(days, left[:size]), left[size:]
            rows["key"] = 2**60 + apart * rows["device"]
            found.merge(rows, days)
        assert extents(found) == [(0, 20, 0, 20), (5, 10, 5, 10)]


def test_the_sums_and_maxima_of_a_presence() -> None:
    heard = [Heard(0, -80, address_class=2, offset=5), Heard(1, -60, offset=9), Heard(2, -70, offset=7)]
    for arrival in permutations(heard):
        (row,) = presences_of(*([one] for one in arrival)).rows
        assert (row["sightings"], row["rssi"], row["class"], row["touched"]) == (3, -60, 2, 9)


def test_a_change_of_the_rule_applies_from_its_business_date() -> None:
    change = {"valid_from": date(2026, 1, 6), "rule": "meraki"}
    days = days_of({"changes": [change]})
    cut = (CUTOVER - NOON) / 1000
    heard = [Heard(cut - 500), Heard(cut - 1), Heard(cut), Heard(cut + 121, -85), Heard(cut + 241, -80)]
    for arrival in permutations(heard):
        assert extents(presences_of(arrival, days=days)) == [
            (cut - 500, cut - 1, cut - 500, cut - 1),
            (cut, cut, cut, cut),
            # -80 enters under the new rule, -85 stays.
            (cut + 121, cut + 241, cut + 241, cut + 241),
        ]


# -- closing -----------------------------------------------------------------------------------------------

CLOSING = [
    pytest.param(Heard(0), GAP_MS, False, id="the gap has not passed at the gap"),
    pytest.param(Heard(0), GAP_MS + 1, True, id="it has a millisecond after"),
    pytest.param(Heard(0, span_ms=10_000), GAP_MS + 10_000, False, id="counted from the end"),
    pytest.param(Heard(57_599), 57_599_999, False, id="a millisecond before the cut-over"),
    pytest.param(Heard(57_599), 57_600_000, True, id="the cut-over closes"),
    pytest.param(Heard(57_599.999, span_ms=10_000), 57_600_000, True, id="even one whose burst lasts over it"),
]


@pytest.mark.parametrize(("heard", "watermark_ms", "closed"), CLOSING)
def test_a_presence_closes_when_nothing_on_time_can_join_it(heard: Heard, watermark_ms: int, closed: bool) -> None:
    found = presences_of([heard])
    assert len(found.close_due(np.array([NOON + watermark_ms]))) == closed
    assert found.rows["closed"].tolist() == [int(closed)]
    assert len(found.close_due(np.array([NOON + watermark_ms]))) == 0, "closed twice"


def test_each_store_closes_by_its_own_watermark() -> None:
    found = presences_of([Heard(0, store=0), Heard(0, store=1)], days=days_of({}, {}))
    due = found.close_due(np.array([NOON, NOON + GAP_MS + 1]))
    assert found.rows["store"][due].tolist() == [1]


def merged(found: Presences, *heard: Heard) -> Fold:
    days = days_of()
    return found.merge(singles(days, heard), days)


def test_a_merge_opens_what_it_changes_and_leaves_a_bystander_closed() -> None:
    found = presences_of([Heard(0)], [Heard(5000)])
    found.close_due(np.array([CUTOVER]))
    fold = merged(found, Heard(900))
    assert [seconds(int(first)) for first in fold.before["first"]] == [0, 5000]
    assert [(seconds(int(row["last"])), int(row["closed"])) for row in fold.after] == [(900, 0), (5000, 1)]
    assert fold.group.tolist() == [0, 1]


def test_a_merge_says_which_presences_became_one() -> None:
    found = presences_of([Heard(0)], [Heard(1680)], [Heard(5000)], [Heard(0, device=2)])
    fold = merged(found, Heard(840))
    groups = dict(zip((seconds(int(first)) for first in fold.before["first"]), fold.group.tolist(), strict=True))
    assert groups[0] == groups[1680] != groups[5000]
    assert len(fold.after) == 2, "another device is not touched"
    assert len(found) == 3


def test_merging_nothing_changes_nothing() -> None:
    found = presences_of([Heard(0)])
    fold = merged(found)
    assert (len(fold.before), len(fold.after), len(found)) == (0, 0, 1)


def test_presences_stay_sorted_by_their_hash_whatever_is_done_to_them() -> None:
    found = presences_of(*([Heard(10 * n, device=n)] for n in range(1, 30)))
    found.add(singles(days_of(), [Heard(5, device=n) for n in range(40, 50)]))
    found.rows.keep(found.rows["device"] % 3 != 0)
    merged(found, *(Heard(100, device=n) for n in range(1, 60, 7)))
    assert (np.diff(found.rows["key"].astype(object)) >= 0).all()
    assert found.rows["key"].tolist() == identity_hash(found.rows).tolist()


def settled_of(*last_s: int, watermark_s: int, gap_s: int = 900) -> Presences:
    """Presences of device 1 that ended at these seconds and closed, those behind the watermark by the gap set aside."""
    found = presences_of(*([Heard(at)] for at in last_s))
    found.rows["closed"] = 1
    found.settle(np.array([NOON + watermark_s * 1000]), np.array([gap_s * 1000]))
    return found


def test_what_is_closed_settles_once_the_watermark_is_more_than_the_longest_gap_behind_it() -> None:
    found = presences_of([Heard(0)], [Heard(1, device=2)], [Heard(0, device=3)])
    found.rows["closed"] = (found.rows["device"] != 3).astype(np.uint8)
    found.settle(np.array([NOON + 900_001]), np.array([900_000]))
    assert sorted(found.rows["device"].tolist()) == [2, 3], "one is within the gap, one is open"
    assert [part["device"].tolist() for part in found.parts()[1:]] == [[1]]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("heard_s", "recalled"),
    [
        (0, [0]),
        (900, [0]),
        (901, []),
        (1100, [2000]),
        (1099, []),
        (2000, [2000]),
        (5000, [4100]),
        (5001, []),
        (6000, []),  # on time
    ],
)
def test_a_late_sighting_recalls_what_it_may_join(heard_s: int, recalled: list[int]) -> None:
    found = settled_of(0, 2000, 4100, watermark_s=6000)
    assert len(found.rows) == 0
    found.recall(singles(days_of(), [Heard(heard_s)]), np.array([NOON + 6_000_000]), np.array([900_000]))
    assert [seconds(int(first)) for first in found.rows["first"]] == recalled
    assert len(found) == 3


def test_other_devices_recall_nothing() -> None:
    found = settled_of(0, 2000, watermark_s=6000)
    found.recall(singles(days_of(), [Heard(0, device=2)]), np.array([NOON + 6_000_000]), np.array([900_000]))
    assert (len(found.rows), len(found)) == (0, 2)


def test_what_is_forgotten_is_said_whether_it_had_settled_or_not() -> None:
    found = settled_of(0, 2000, 4100, watermark_s=4000)
    assert len(found.rows) == 1
    gone = found.forget(np.array([NOON + 2_000_000]))
    assert [seconds(int(first)) for first in gone["first"]] == [0]
    gone = found.forget(np.array([NOON + 5_000_000]))
    assert [seconds(int(first)) for first in gone["first"]] == [4100, 2000]
    assert len(found) == 0


def test_chains_of_no_rows_are_none() -> None:
    empty, group = chains(Columns.zeros(0, PRESENCE), np.empty(0, np.int64))
    assert (len(empty), len(group)) == (0, 0)


# -- what kind of visit ------------------------------------------------------------------------------------


def stay(length_s: float, rssi: int = -60, since: float = 0) -> list[Heard]:
    starts = [*range(0, int(length_s), 600), length_s]
    return [Heard(since + start, rssi) for start in starts]


def role_of(heard: list[Heard], **store: Any) -> Role:
    days = days_of({"opening": {"daily": "all day"}, **store})
    rows = presences_of(heard, days=days).rows
    (role,) = roles(rows, days.lookup(rows["store"], rows["first"]))
    return Role(int(role))


ROLES = [
    pytest.param(stay(299.999), Role.BOUNCED, id="a millisecond under five minutes bounces"),
    pytest.param(stay(300), Role.VISITOR, id="five minutes make a visitor"),
    pytest.param(stay(4 * 3600), Role.VISITOR, id="exactly the longest visit is one"),
    pytest.param(stay(4 * 3600 + 0.001), Role.STAFF_OR_FIXED, id="a longer one is staff"),
    pytest.param(stay(4 * 3600 + 1, -80), Role.STAFF_OR_FIXED, id="even if it never entered"),
    pytest.param(stay(600, -66), Role.PASSER_BY, id="whoever never entered passes by"),
    pytest.param([Heard(0)], Role.BOUNCED, id="entered and gone bounces"),
    pytest.param([Heard(0, -65), Heard(299, -70), Heard(400, -71)], Role.BOUNCED, id="dwell ends where staying does"),
]


@pytest.mark.parametrize(("heard", "role"), ROLES)
def test_roles(heard: list[Heard], role: Role) -> None:
    assert role_of(heard) == role


@pytest.mark.parametrize(
    ("heard", "dwell"),
    [
        pytest.param([Heard(0), Heard(1.999)], 1, id="rounded down"),
        pytest.param([Heard(0), Heard(2)], 2, id="whole"),
        pytest.param([Heard(0.5), Heard(1.499)], 0, id="under a second is none"),
        pytest.param([Heard(0, span_ms=1000)], 1, id="one burst has its own length"),
        pytest.param([Heard(0, -66)], -1, id="never entered"),
    ],
)
def test_dwell(heard: list[Heard], dwell: int) -> None:
    assert dwell_s(presences_of(heard).rows).tolist() == [dwell]


HOURS = [
    pytest.param("12:00-12:10", 0, Role.VISITOR, id="from opening to closing, to the millisecond"),
    pytest.param("12:01-12:10", 0, Role.STAFF_OR_FIXED, id="begins before opening"),
    pytest.param("12:00-12:09", 0, Role.STAFF_OR_FIXED, id="ends after closing"),
    pytest.param("12:30-13:00", 1800, Role.VISITOR, id="as early as the margin"),
    pytest.param("12:30-13:00", 1799, Role.STAFF_OR_FIXED, id="earlier than it"),
    pytest.param("09:00-11:40", 1800, Role.VISITOR, id="as late as the margin"),
    pytest.param("09:00-11:40", 1799, Role.STAFF_OR_FIXED, id="later than it"),
    pytest.param("closed", 1800, Role.STAFF_OR_FIXED, id="a closed day has only staff, margin or not"),
    pytest.param("all day", 0, Role.VISITOR, id="open all day"),
    pytest.param("11:00-02:00", 0, Role.VISITOR, id="closes on the next calendar day"),
    pytest.param("20:00-19:00", 0, Role.STAFF_OR_FIXED, id="an overnight day begins on its own date"),
    pytest.param("12:00-12:00", 0, Role.VISITOR, id="equal times are a whole day"),
]


@pytest.mark.parametrize(("hours", "margin_s", "role"), HOURS)
def test_any_of_it_outside_opening_hours_makes_it_staff(hours: str, margin_s: int, role: Role) -> None:
    assert role_of([Heard(0), Heard(600)], opening={"daily": hours}, opening_margin_s=margin_s) == role


def test_being_outside_opening_hours_beats_passing_by() -> None:
    assert role_of([Heard(0, -80)], opening={"daily": "13:00-14:00"}, opening_margin_s=0) == Role.STAFF_OR_FIXED


@pytest.mark.parametrize(
    ("opening", "role"),
    [
        pytest.param({"mon": "12:00-13:00"}, Role.VISITOR, id="its weekday"),
        pytest.param({"tue": "12:00-13:00"}, Role.STAFF_OR_FIXED, id="a weekday not named is closed"),
        pytest.param({"daily": "closed", "2026-01-05": "12:00-13:00"}, Role.VISITOR, id="the date itself"),
        pytest.param({"mon": "12:00-13:00", "2026-01-05": "closed"}, Role.STAFF_OR_FIXED, id="closed on that date"),
        pytest.param({"2026-01-06": "closed"}, Role.VISITOR, id="a date alone leaves all others open"),
    ],
)
def test_which_hours_hold_on_a_day(opening: dict[str, str], role: Role) -> None:
    assert role_of([Heard(0), Heard(600)], opening=opening, opening_margin_s=0) == role


@pytest.mark.parametrize(
    ("zone", "at", "business_day"),
    [
        pytest.param("Europe/Berlin", "2026-03-29T01:59:59.999", 20_540, id="spring, before the cut-over"),
        pytest.param("Europe/Berlin", "2026-03-29T02:00:00", 20_541, id="spring, at it"),
        pytest.param("Europe/Berlin", "2026-10-25T02:59:59.999", 20_750, id="autumn, before it"),
        pytest.param("Europe/Berlin", "2026-10-25T03:00:00", 20_751, id="autumn, at it"),
        pytest.param("Asia/Kathmandu", "2026-01-01T22:14:59.999", 20_454, id="a quarter of an hour off"),
    ],
)
def test_business_days_turn_at_the_local_cutover(zone: str, at: str, business_day: int) -> None:
    instant = np.datetime64(at, "ms").astype(np.int64)
    row = days_of({"time_zone": zone, "cutover": time(4)}).lookup(np.array([0], np.int32), np.array([instant]))
    assert row["day"].tolist() == [business_day]


def test_a_business_day_lasts_23_and_25_hours_when_clocks_change() -> None:
    days = days_of({"time_zone": "Europe/Berlin"})
    hours: list[float] = []
    for noon in ("2026-03-27T12", "2026-03-28T12", "2026-10-24T12"):
        instant = np.array([np.datetime64(noon, "ms").astype(np.int64)])
        row = days.lookup(np.array([0], np.int32), instant)
        hours += ((row["end_ms"] - (row["key"] & (2**44 - 1))) / 3_600_000).tolist()
    assert hours == [24, 23, 25]


def test_every_store_keeps_its_own_days_even_in_the_first_hours_of_1970() -> None:
    days = days_of({"rule": "retail"}, {"rule": "meraki"})
    stores = np.array([0, 1], np.int32)
    days.lookup(stores, np.array([NOON, NOON]))
    found = days.lookup(stores, np.array([3000, 3000]))
    assert found["day"].tolist() == [-1, -1]
    assert [days.rule_labels[index] for index in found["rule"]] == ["retail@1", "meraki@1"]
