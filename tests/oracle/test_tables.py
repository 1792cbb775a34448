"""The oracle's tables: every rule of bursts, visits and minutes on cases small enough to check by hand."""

from __future__ import annotations

from datetime import date, datetime, time
from hashlib import blake2b
from typing import Any

import pytest

from tests.oracle.clocks import heartbeat_clocks
from tests.oracle.compare import differences, from_query, instant_ms, keyed_differences, report
from tests.oracle.minutes import store_minutes
from tests.oracle.pseudonyms import pseudonyms, visit_id
from tests.oracle.sensor_minutes import sensor_minutes
from tests.oracle.sightings import bursts_of, sightings_of
from tests.oracle.store_settings import Row, business_date, opening_ms, settings_on
from tests.oracle.visits import BOUNCED, PASSER_BY, STAFF_OR_FIXED, VISITOR, visits_of

NOON = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
MAC, OTHER = "00:1b:2f:00:00:01", "00:1b:2f:00:00:02"
STORE: Row = {"id": "s"}
KEY: Row = {"scope": "store", "days": 1, "epoch": 0, "key": "11" * 32}
GLOBAL, ASSOCIATED, RANDOM = 1, 2, 3


def counted(ms: int, rssi: int | None = -50, mac: str = MAC, cls: int = GLOBAL, kind: int = 1) -> Row:
    return {
        "time_ms": ms,
        "outcome": "counted",
        "reason": None,
        "mac": mac,
        "kind": kind,
        "address_class": cls,
        "rssi_dbm": rssi,
        "freq_mhz": 2412,
    }


def sighting(second: float, rssi: int | None = -60, span_ms: int = 0, mac: str = MAC, cls: int = GLOBAL) -> Row:
    return {
        "mac": mac,
        "observed_ms": NOON + round(second * 1000),
        "span_ms": span_ms,
        "rssi_dbm": rssi,
        "address_class": cls,
    }


def visits(sightings: list[Row], store: Row = STORE) -> list[Row]:
    return visits_of(sightings, store, lambda mac, day: (int(mac[-2:], 16), 7))


def seconds(ms: int | None) -> float | None:
    return None if ms is None else (ms - NOON) / 1000


BURSTS = [
    pytest.param([0, 1000], GLOBAL, [0], id="a silence of 1,000 ms does not end a burst"),
    pytest.param([0, 1001], GLOBAL, [0, 1001], id="a longer one does"),
    pytest.param([*range(0, 10_001, 1000)], GLOBAL, [0], id="a burst lasts up to 10,000 ms"),
    pytest.param([*range(0, 10_001, 1000), 10_001], GLOBAL, [0, 10_001], id="and no longer"),
    pytest.param([59_999, 60_000], GLOBAL, [59_999], id="a stable burst crosses a minute"),
    pytest.param([59_999, 60_000], RANDOM, [59_999, 60_000], id="a random one ends with it"),
]


@pytest.mark.parametrize(("times", "cls", "starts"), BURSTS)
def test_where_bursts_begin(times: list[int], cls: int, starts: list[int]) -> None:
    assert [burst["first_ms"] for burst in bursts_of([counted(ms, cls=cls) for ms in times])] == starts


def test_a_sighting_sums_up_its_burst_and_random_ones_are_none() -> None:
    frames = [
        counted(0, None, kind=1),
        counted(5, -70, kind=8),
        counted(9, -60, kind=1),
        counted(9, cls=RANDOM, mac=OTHER),
    ]
    (only,) = sightings_of(bursts_of(frames))
    assert (only["span_ms"], only["rssi_dbm"], only["frames"], only["frame_kinds"]) == (9, -60, 3, 9)


def test_becoming_associated_opens_a_burst() -> None:
    assert len(bursts_of([counted(0, cls=RANDOM), counted(5, cls=ASSOCIATED)])) == 2


CHAINS = [
    pytest.param([(0, 0), (900, 0)], [(0, 900)], id="a silence of exactly the gap does not split"),
    pytest.param([(0, 0), (900.001, 0)], [(0, 0), (900.001, 900.001)], id="a longer one does"),
    pytest.param([(0, 5000), (905, 0)], [(0, 905)], id="silence is counted from the end"),
    pytest.param([(0, 9000), (1, 0), (909, 0)], [(0, 909)], id="from the latest end, not the last one"),
    pytest.param([(0, 0), (1700, 0), (850, 0)], [(0, 1700)], id="a middle sighting joins two"),
]


@pytest.mark.parametrize(("heard", "wanted"), CHAINS)
def test_chains_of_sightings(heard: list[tuple[float, int]], wanted: list[tuple[float, float]]) -> None:
    found = visits([sighting(start, span_ms=span) for start, span in heard])
    assert [(seconds(v["first_seen_ms"]), seconds(v["last_seen_ms"])) for v in found] == wanted


def test_too_weak_or_unknown_signals_are_no_part_of_a_visit() -> None:
    (only,) = visits([sighting(0, -90), sighting(10, -91), sighting(20, None)])
    assert (only["sightings"], only["rssi_max_dbm"], only["role"]) == (1, -90, PASSER_BY)


ENTERED = [
    pytest.param([(0, -66, 0), (9, -66, 0)], (None, None, None), id="never near enough to enter"),
    pytest.param([(0, -65, 0), (9, -70, 500)], (0, 9.5, 9), id="stays down to stay_dbm, dwell rounds down"),
    pytest.param([(0, -65, 0), (9, -71, 0)], (0, 0, 0), id="and not below"),
    pytest.param([(0, -70, 9000), (3, -65, 0)], (3, 9, 6), id="an earlier one may end later"),
    pytest.param([(0, -68, 0), (3, -65, 20), (9, -65, 0)], (3, 9, 6), id="enters at the first near one"),
]


@pytest.mark.parametrize(("heard", "wanted"), ENTERED)
def test_when_a_visit_enters_and_leaves(heard: list[tuple[float, int, int]], wanted: tuple[Any, ...]) -> None:
    (only,) = visits([sighting(second, rssi, span) for second, rssi, span in heard])
    assert (seconds(only["entered_ms"]), seconds(only["left_ms"]), only["dwell_s"]) == wanted


def stay(length_s: float, rssi: int = -60) -> list[Row]:
    starts = [*range(0, int(length_s), 600), length_s]
    return [sighting(start, rssi) for start in starts]


ROLES = [
    pytest.param(stay(299.999), BOUNCED, False, id="under five minutes bounces"),
    pytest.param(stay(300), VISITOR, False, id="five minutes make a visitor"),
    pytest.param(stay(900), VISITOR, True, id="fifteen an engaged one"),
    pytest.param(stay(14_400), VISITOR, True, id="exactly the longest visit is one"),
    pytest.param(stay(14_400.001), STAFF_OR_FIXED, False, id="longer is staff"),
    pytest.param(stay(14_401, -80), STAFF_OR_FIXED, False, id="also if it never entered"),
    pytest.param(stay(600, -80), PASSER_BY, False, id="never entered passes by"),
]


@pytest.mark.parametrize(("heard", "role", "engaged"), ROLES)
def test_roles(heard: list[Row], role: int, engaged: bool) -> None:
    (only,) = visits(heard)
    assert (only["role"], only["engaged"]) == (role, engaged)


HOURS = [
    pytest.param("12:00-12:10", 0, VISITOR, id="inside the opening hours"),
    pytest.param("12:30-13:00", 1800, VISITOR, id="half an hour early is within the margin"),
    pytest.param("12:30-13:00", 1799, STAFF_OR_FIXED, id="a second more is not"),
    pytest.param("09:00-11:40", 1800, VISITOR, id="ends with the margin after closing"),
    pytest.param("09:00-11:40", 1799, STAFF_OR_FIXED, id="ends after it"),
    pytest.param("closed", 0, STAFF_OR_FIXED, id="a closed day has staff only"),
    pytest.param("all day", 0, VISITOR, id="open all day has no outside"),
    pytest.param("20:00-19:00", 0, STAFF_OR_FIXED, id="overnight hours begin on the business date"),
    pytest.param("11:00-02:00", 0, VISITOR, id="and close on the next"),
]


@pytest.mark.parametrize(("hours", "margin", "role"), HOURS)
def test_opening_hours(hours: str, margin: int, role: int) -> None:
    store = {"id": "s", "opening": {"daily": hours}, "opening_margin_s": margin}
    (only,) = visits([sighting(0), sighting(600)], store)
    assert only["role"] == role


def test_a_days_own_hours_beat_the_weeks_and_an_unnamed_weekday_is_closed() -> None:
    store = {"id": "s", "opening": {"fri": "09:00-20:00", "2026-01-01": "all day"}}
    assert opening_ms(store, date(2026, 1, 1)) == "all day"
    assert opening_ms(store, date(2026, 1, 3)) == "closed"
    assert opening_ms({"id": "s"}, date(2026, 1, 3)) == "all day"


def test_the_cut_over_cuts_a_presence_by_the_start_of_its_sightings() -> None:
    cut = 16 * 3600  # 04:00 UTC on the next day
    found = visits([sighting(cut - 60), sighting(cut - 1, span_ms=5000), sighting(cut)])
    assert [(v["business_date"].day, v["sightings"]) for v in found] == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("local", "day"),
    [
        pytest.param("2026-03-29 03:59:59+02:00", 28, id="spring, before the cut-over"),
        pytest.param("2026-03-29 04:00:00+02:00", 29, id="spring, at it"),
        pytest.param("2026-10-25 03:59:59+01:00", 24, id="autumn, before the cut-over"),
        pytest.param("2026-10-25 04:00:00+01:00", 25, id="autumn, at it"),
    ],
)
def test_business_dates_across_daylight_saving(local: str, day: int) -> None:
    instant = int(datetime.fromisoformat(local).timestamp()) * 1000
    assert business_date({"id": "s", "time_zone": "Europe/Berlin"}, instant).day == day


def test_a_change_applies_from_its_business_date_and_keeps_the_rest() -> None:
    rule = {"name": "quick", "based_on": "purple", "gap_s": 60}
    store: Row = {
        "id": "s",
        "cutover": time(4),
        "own_bssids": ["00-1B-2F-00-00-01"],
        "changes": [{"valid_from": date(2026, 1, 2), "rule": rule}],
    }
    before, after = settings_on(store, date(2026, 1, 1)), settings_on(store, date(2026, 1, 2))
    assert before["rule"]["name"] == "retail"
    assert (after["rule"]["name"], after["rule"]["gap_s"], after["rule"]["min_dwell_s"]) == ("quick", 60, 180)
    assert after["own_bssids"] == {"00:1b:2f:00:00:01"}


def test_the_highest_class_and_the_strongest_signal_stand_on_the_visit() -> None:
    (only,) = visits([sighting(0, -80, cls=ASSOCIATED), sighting(1, -60, cls=GLOBAL)])
    assert (only["address_class"], only["rssi_max_dbm"], only["rule_version"]) == (2, -60, "retail@1")


def test_pseudonyms_differ_by_store_and_epoch_and_destroyed_ones_are_none() -> None:
    day, key = date(1970, 1, 11), {**KEY, "epoch": 10}
    here, there = pseudonyms(key, "a"), pseudonyms(key, "b")
    tomorrow = here(MAC, date(1970, 1, 12))
    assert here(MAC, day) != there(MAC, day)
    assert tomorrow is not None
    assert here(MAC, day) is not None
    assert tomorrow != here(MAC, day)
    assert tomorrow[1] == 11
    assert here(MAC, date(1970, 1, 10)) is None
    chain = {**key, "scope": "chain"}
    assert pseudonyms(chain, "a")(MAC, day) == pseudonyms(chain, "b")(MAC, day)
    plain = blake2b(bytes.fromhex("001b2f000001"), digest_size=8, key=bytes.fromhex("11" * 32)).digest()
    assert pseudonyms(chain, "a")(MAC, day) == (int.from_bytes(plain, "little"), 10)
    assert visits_of([sighting(0)], STORE, lambda mac, day: None) == []


def test_a_visit_id_depends_on_every_field() -> None:
    base = visit_id("s", 1, 2, 3)
    assert len({base, visit_id("t", 1, 2, 3), visit_id("s", 9, 2, 3), visit_id("s", 1, 9, 3)}) == 4
    assert visit_id("s", 1, 2, 9) != base
    packed = b"\x01\x00s" + b"\x08\x00" + bytes([1, *[0] * 7]) + b"\x04\x00" + bytes([2, 0, 0, 0])
    packed += b"\x08\x00" + bytes([3, *[0] * 7])
    assert base == int.from_bytes(blake2b(packed, digest_size=8).digest(), "little")


def test_sensor_minutes_count_frames_bursts_and_addresses() -> None:
    frames = [
        counted(NOON + 30_000, -65),
        counted(NOON + 32_000, -66),
        counted(NOON + 33_000, None, mac=OTHER, cls=RANDOM),
        {"time_ms": NOON + 59_999, "outcome": "rejected", "reason": "truncated"},
        {"time_ms": NOON + 135_500, "outcome": "ignored", "reason": "not_client"},
    ]
    rows = sensor_minutes(frames, bursts_of(frames), STORE, "one")
    assert [row["listening_s"] for row in rows] == [30.0, 60.0, 15.5]
    assert [(row["frames"], row["rejected"], row["ignored"]) for row in rows] == [(4, 1, 0), (0, 0, 0), (1, 0, 1)]
    assert (rows[0]["stable_bursts_65"], rows[0]["stable_bursts_70"], rows[0]["stable_addresses_70"]) == (1, 2, 1)
    assert (rows[0]["random_bursts_all"], rows[0]["random_bursts_75"]) == (1, 0)


def test_store_minutes_count_presences_of_every_role() -> None:
    heard = [*(sighting(s) for s in (10, 130)), sighting(70, -80, mac=OTHER)]
    rows = store_minutes(visits(heard), {"a": [NOON + 240_000], "b": [NOON + 240_001, NOON]}, STORE)
    shown = [
        ((row["minute_ms"] - NOON) // 60_000, *(row[k] for k in ("sensors_live", "present", "entries"))) for row in rows
    ]
    assert shown == [(0, 1, 1, 1), (1, 0, 1, 0), (2, 0, 0, 0), (4, 2, 0, 0)]
    assert [(row["exits"], row["passers_by"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (0, 0)]


def test_who_enters_or_leaves_at_a_minutes_very_end_is_present_at_it() -> None:
    rows = store_minutes(visits([sighting(0), sighting(60)]), {}, STORE)
    shown = [((row["minute_ms"] - NOON) // 60_000, *(row[k] for k in ("present", "entries", "exits"))) for row in rows]
    assert shown == [(-1, 1, 0, 0), (0, 1, 1, 0), (1, 0, 0, 1)]


def test_a_heartbeats_clock_waits_for_the_oldest_open_burst() -> None:
    frames = [counted(NOON + ms) for ms in (25_000, 29_500, 30_200, 100_000)]
    clocks = heartbeat_clocks(frames, bursts_of(frames), 60)
    assert [clock - NOON for clock in clocks] == [25_000, 29_500, 90_000, 100_000]


def test_differences_name_what_is_missing_and_what_is_too_much() -> None:
    left, right = [{"a": 1, "b": None}], [{"a": 2, "b": 3}]
    assert differences(left, right, ["a", "b"]) == ["missing: a=1 b=null", "surplus: a=2 b=3"]
    assert keyed_differences([{"a": 1, "b": 2}], [{"a": 1, "b": 3}], ["a"], ["b"]) == ["a=1 b: 3 instead of 2"]
    assert keyed_differences(left, [], ["a"], ["b"]) == ["missing: a=1"]
    assert differences(left * 2, left, ["a"]) == ["missing: a=1"]
    assert "and 3 more" in report("visits", ["x"] * 15)


def test_times_of_a_query_are_read_in_any_of_their_spellings() -> None:
    for text in ("2026-01-01 12:00:00.007", "2026-01-01T12:00:00.007Z", "2026-01-01T13:00:00.007+01:00"):
        assert instant_ms(text) == NOON + 7
    (row,) = from_query([{"entered_at": None, "business_date": "2026-01-01", "engaged": 1}], ["entered_at"])
    assert row == {"entered_ms": None, "business_date": date(2026, 1, 1), "engaged": True}
