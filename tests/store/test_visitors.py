"""Visitors a day by Little's law, against the formula worked out by hand from the same visits and hours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from statistics import fmean

import pytest
from footfall_events.schemas import Role

from tests.store.world import MONDAY, Row, World, sensor_minute, visit

DAY = timedelta(days=1)
ESTIMATE = "visitors_estimate, visitors_estimate_lo, visitors_estimate_hi"


def day_row(store: str, day: date, hours: tuple[float, float, float] = (60.0, 50.0, 75.0), **columns: object) -> Row:
    """A date as the estimator writes it."""
    total, lo, hi = hours
    row = {"windows": 100, "visitor_hours": total, "visitor_hours_lo": lo, "visitor_hours_hi": hi}
    told = {"sensors_hearing": 1.0, "apart": 0.0, "beyond": 0.0, "method": "filter@1", "calibration_id": f"of {store}"}
    return {"store_id": store, "business_date": day, **row, **told, "inputs": 1, "version": 1} | columns


def write(world: World, *rows: Row) -> None:
    for row in rows:
        world.client.insert("footfall.occupancy_days_log", [list(row.values())], list(row))


def entries(store: str, day: date, dwells_s: Sequence[int], sightings: int = 11, first: int = 1) -> list[Row]:
    """One visit a device, with as many sightings."""
    return [
        visit(store, day, device, dwell_s, sightings=sightings) for device, dwell_s in enumerate(dwells_s, start=first)
    ]


def by_hand(
    hours: tuple[float, float, float], stays_s: Sequence[float], people_per_entry: float = 1
) -> tuple[float, float, float]:
    mean = fmean(stays_s)
    variance = fmean([(stay / mean - 1) ** 2 for stay in stays_s]) / len(stays_s)
    doubt = 1.96**2 * variance
    people = hours[0] * 3600 / mean * people_per_entry / (1 + variance)
    below, above = (math.sqrt(math.log(one) ** 2 + doubt) for one in (hours[0] / hours[1], hours[2] / hours[0]))
    return people, people * math.exp(-below), people * math.exp(above)


@pytest.fixture
def north(world: World) -> World:
    world.configure("north", "south")
    return world


DWELLS = [300, 600, 900, 1500] * 10


def test_people_are_hours_over_the_mean_stay(north: World) -> None:
    write(north, day_row("north", MONDAY))
    north.insert([sensor_minute("north", MONDAY), *entries("north", MONDAY, DWELLS)])
    # Of eleven bursts the first and the last are 10/12 of the stay apart.
    expected = by_hand((60, 50, 75), [dwell * 1.2 for dwell in DWELLS])
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(expected)
    assert north.days("visitors_estimate_method, calibration_id")[MONDAY] == ("filter@1", "of north")


def test_a_burst_that_several_sensors_heard_is_one_moment(north: World) -> None:
    write(north, day_row("north", MONDAY, sensors_hearing=2.0))
    north.insert([sensor_minute("north", MONDAY), *entries("north", MONDAY, DWELLS, sightings=22)])
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(by_hand((60, 50, 75), [dwell * 1.2 for dwell in DWELLS]))


def test_those_who_bounce_count_and_staff_and_passers_by_do_not(north: World) -> None:
    write(north, day_row("north", MONDAY))
    bounced = [{**row, "role": Role.BOUNCED} for row in entries("north", MONDAY, [60] * 20, first=100)]
    staff = [{**row, "role": Role.STAFF_OR_FIXED} for row in entries("north", MONDAY, [20_000] * 20, first=200)]
    passing = [visit("north", MONDAY, device, None) for device in range(300, 320)]
    north.insert([sensor_minute("north", MONDAY), *entries("north", MONDAY, DWELLS), *bounced, *staff, *passing])
    stays = [dwell * 1.2 for dwell in (*DWELLS, *[60] * 20)]
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(by_hand((60, 50, 75), stays))


def test_whoever_comes_twice_is_one_visitor(north: World) -> None:
    write(north, day_row("north", MONDAY))
    again = [visit("north", MONDAY, device, 600, sightings=11, first=_noon(MONDAY)) for device in range(1, 11)]
    north.insert([sensor_minute("north", MONDAY), *entries("north", MONDAY, DWELLS), *again])
    stays = [dwell * 1.2 for dwell in (*DWELLS, *[600] * 10)]
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(by_hand((60, 50, 75), stays, 40 / 50))


def _noon(day: date) -> object:
    return visit("north", day)["first_seen_at"] + timedelta(hours=2)


@pytest.mark.parametrize(
    ("before", "taken"),
    [
        pytest.param(28, True, id="28 days before"),
        pytest.param(1, True, id="the day before"),
        pytest.param(29, False, id="29 days before is too long ago"),
        pytest.param(-1, False, id="not from the day after"),
    ],
)
def test_a_date_with_few_entries_takes_what_it_lacks_of_thirty_from_four_weeks(
    north: World, before: int, taken: bool
) -> None:
    other = MONDAY - before * DAY
    write(north, day_row("north", MONDAY), day_row("north", other))
    few, many = [1200] * 10, [600] * 100
    north.insert([sensor_minute("north", MONDAY), sensor_minute("north", other)])
    north.insert([*entries("north", MONDAY, few), *entries("north", other, many)])
    stays = [dwell * 1.2 for dwell in (*few, *[600] * 20)] if taken else [dwell * 1.2 for dwell in few]
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(by_hand((60, 50, 75), stays))


def test_a_date_without_entries_takes_all_thirty_and_without_any_in_four_weeks_is_unknown(north: World) -> None:
    write(north, day_row("north", MONDAY), day_row("north", MONDAY + DAY))
    north.insert([*(sensor_minute("north", day) for day in (MONDAY, MONDAY + DAY))])
    north.insert(entries("north", MONDAY, [600] * 9))
    found = north.days(ESTIMATE)
    assert found[MONDAY + DAY] == pytest.approx(by_hand((60, 50, 75), [720] * 9))
    north.client.command("TRUNCATE TABLE footfall.visits_log")
    assert north.days(ESTIMATE)[MONDAY] == (None, None, None)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        pytest.param((0.0, 0.0, 2.0), (0, 0, 10), id="nobody, as it seems"),
        pytest.param((0.2, 0.0, 2.0), (1, 0, 10), id="somebody, perhaps"),
    ],
)
def test_an_empty_store_has_an_interval_from_nobody_on(
    north: World, hours: tuple[float, float, float], expected: tuple[float, float, float]
) -> None:
    write(north, day_row("north", MONDAY, hours))
    north.insert([sensor_minute("north", MONDAY), *entries("north", MONDAY, [600] * 30)])
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(expected)


def test_a_withdrawn_visit_restates_the_estimate(north: World) -> None:
    write(north, day_row("north", MONDAY))
    rows = entries("north", MONDAY, DWELLS)
    north.insert([sensor_minute("north", MONDAY), *rows])
    north.insert([{**row, "version": 2, "deleted": 1} for row in rows[:4]])
    expected = by_hand((60, 50, 75), [dwell * 1.2 for dwell in DWELLS[4:]])
    assert north.days(ESTIMATE)[MONDAY] == pytest.approx(expected)


@pytest.mark.parametrize("is_shared", [False, True])
def test_stores_with_calibrations_of_their_own_are_wrong_independently(north: World, is_shared: bool) -> None:
    write(north, day_row("north", MONDAY), day_row("south", MONDAY))
    if is_shared:
        columns = ["store_id", "number", "calibration_id", "method", "parameters", "fitted_on", "borrowed_from"]
        north.client.insert(
            "footfall.store_calibrations_log", [["south", 1, "of south", "filter@1", "", "", "north"]], columns
        )
    north.insert([*(sensor_minute(store, MONDAY) for store in ("north", "south"))])
    north.insert([row for store in ("north", "south") for row in entries(store, MONDAY, DWELLS)])
    people, lo, hi = by_hand((60, 50, 75), [dwell * 1.2 for dwell in DWELLS])
    wide = 2 if is_shared else math.sqrt(2)
    expected = 2 * people, 2 * people - wide * (people - lo), 2 * people + wide * (hi - people)
    assert north.chain_days(ESTIMATE)[MONDAY] == pytest.approx(expected)
    told = north.chain_days("stores_calibrated, visitors_estimate_method, calibration_id")[MONDAY]
    assert told == (2, "filter@1", ["of north", "of south"])


def drifting(**columns: float) -> Iterator[Row]:
    """Ten dates, from the fourth on with these figures."""
    for number in range(10):
        yield day_row("north", MONDAY + number * DAY) | (columns if number > 2 else {})


@pytest.mark.parametrize(
    ("columns", "flags"),
    [
        pytest.param({}, [0] * 10, id="as fitted"),
        pytest.param({"apart": 2.0}, [0] * 6 + [1] * 4, id="random phones are louder"),
        pytest.param({"apart": -2.0}, [0] * 6 + [1] * 4, id="stable phones are louder"),
        pytest.param({"beyond": 0.2}, [0] * 4 + [1] * 6, id="larger crowds than in the truth"),
    ],
)
def test_a_calibration_drifts_when_a_week_leaves_its_range(
    north: World, columns: dict[str, float], flags: list[int]
) -> None:
    write(north, *drifting(**columns))
    north.insert([sensor_minute("north", MONDAY + number * DAY) for number in range(10)])
    found = north.days("calibration_drifts")
    assert list(found.values()) == flags


def test_a_new_calibration_starts_without_a_past(north: World) -> None:
    write(north, *drifting(apart=2.0), day_row("north", MONDAY + 10 * DAY, calibration_id="a newer one"))
    north.insert([sensor_minute("north", MONDAY + number * DAY) for number in range(11)])
    assert list(north.days("calibration_drifts").values())[-2:] == [1, 0]
