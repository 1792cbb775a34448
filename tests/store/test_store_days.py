"""What a store's day comes to, each figure worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from footfall_events.schemas import Role

from tests.store.world import MINUTE, MONDAY, Row, World, heard_all_day, opens, sensor_minute, store_minute, visit

TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
COUNTS = "stable_visitors, stable_visits, stable_bounced, stable_passers_by, stable_engaged, stable_new, stable_repeat"
RATES = "repeat_share, capture_rate, mean_dwell_s, median_dwell_s"


def a_monday() -> list[Row]:
    """Device 1 comes twice, 2 once; 3 bounces, 4 to 6 pass by, 7 works there."""
    afternoon = opens(MONDAY) + timedelta(hours=10)
    return [
        visit("north", MONDAY, device=1, dwell_s=600),
        visit("north", MONDAY, device=1, dwell_s=1800, first=afternoon),
        visit("north", MONDAY, device=2, dwell_s=300),
        visit("north", MONDAY, device=3, dwell_s=100, role=Role.BOUNCED),
        *(visit("north", MONDAY, device=device, dwell_s=None) for device in (4, 5, 6)),
        visit("north", MONDAY, device=7, dwell_s=20_000, role=Role.STAFF_OR_FIXED, engaged=False),
    ]


def test_a_day_counts_devices_once_and_visits_each(world: World) -> None:
    world.configure("north")
    world.insert([*heard_all_day("north", MONDAY), *a_monday()])
    assert world.days(COUNTS) == {MONDAY: (2, 3, 1, 3, 1, 2, 0)}


def test_capture_rate_is_the_share_of_visits_among_all_presences_but_staff(world: World) -> None:
    world.configure("north")
    world.insert([*heard_all_day("north", MONDAY), *a_monday()])
    assert world.days("capture_rate") == {MONDAY: 3 / 7}


@pytest.mark.parametrize(
    ("dwells", "mean", "median"),
    [
        pytest.param([600], 600, 600, id="one visit"),
        pytest.param([600, 1800, 300], 900, 600, id="an odd number has one in the middle"),
        pytest.param([600, 1800, 300, 900], 900, 750, id="an even number has the mean of two"),
    ],
)
def test_dwell_is_that_of_visitors_only(world: World, dwells: list[int], mean: float, median: float) -> None:
    world.configure("north")
    visits = [visit("north", MONDAY, device=device, dwell_s=dwell) for device, dwell in enumerate(dwells)]
    bounced = visit("north", MONDAY, device=99, dwell_s=1, role=Role.BOUNCED)
    world.insert([*heard_all_day("north", MONDAY), *visits, bounced])
    assert world.days("mean_dwell_s, median_dwell_s") == {MONDAY: (mean, median)}


def test_a_store_open_but_silent_shows_zeros_and_no_rates(world: World) -> None:
    world.configure("north")
    world.insert([sensor_minute("north", MONDAY)])
    assert world.days(COUNTS) == {MONDAY: (0,) * 7}
    assert world.days(RATES) == {MONDAY: (None,) * 4}


def test_a_store_gone_dark_shows_nulls_and_no_coverage(world: World) -> None:
    world.configure("north", "south")
    world.insert([sensor_minute("north", MONDAY), sensor_minute("south", MONDAY), sensor_minute("south", TUESDAY)])
    assert world.days(COUNTS)[TUESDAY] == (None,) * 7
    assert world.days(f"{RATES}, coverage")[TUESDAY] == (None, None, None, None, 0)


def test_estimates_are_null_until_there_is_a_calibration(world: World) -> None:
    world.configure("north")
    world.insert([*heard_all_day("north", MONDAY), *a_monday()])
    columns = "visitors_estimate, visitors_estimate_lo, visitors_estimate_hi"
    assert world.days(columns) == world.chain_days(columns) == {MONDAY: (None, None, None)}


def test_one_store_has_a_row_for_each_date_from_the_first_to_the_newest_heard(world: World) -> None:
    world.configure("north")
    world.insert([sensor_minute("north", MONDAY), sensor_minute("north", WEDNESDAY)])
    assert world.days("stable_visits") == {MONDAY: 0, TUESDAY: None, WEDNESDAY: 0}


def test_nothing_heard_means_no_rows(world: World) -> None:
    world.configure("north")
    assert world.days("coverage") == world.chain_days("coverage") == {}


LAST = opens(TUESDAY) - MINUTE
MONDAYS = [store_minute("north", MONDAY, minute) for minute in (opens(MONDAY), LAST)]
OPEN = store_minute("north", MONDAY, LAST - MINUTE, is_final=0)
EMPTY_AND_OPEN = OPEN | {"sensors_live": 0}


@pytest.mark.parametrize(
    ("minutes", "is_final"),
    [
        pytest.param([], 0, id="nothing is published yet"),
        pytest.param(MONDAYS, 0, id="a running day is open however final its minutes are, to the very last"),
        pytest.param([*MONDAYS, store_minute("north", TUESDAY)], 1, id="a minute of the next date ends it"),
        pytest.param([*MONDAYS, store_minute("north", TUESDAY, is_final=0)], 1, id="that minute may be open itself"),
        pytest.param([*MONDAYS, store_minute("north", WEDNESDAY)], 1, id="or of a later date"),
        pytest.param([*MONDAYS, store_minute("south", TUESDAY)], 0, id="or another store's, which says nothing"),
        pytest.param([*MONDAYS, OPEN, store_minute("north", TUESDAY)], 0, id="an open presence holds it"),
        pytest.param(
            [*MONDAYS, EMPTY_AND_OPEN, store_minute("north", TUESDAY)], 0, id="in a minute without a sensor as well"
        ),
        pytest.param(
            [*MONDAYS, OPEN, store_minute("north", TUESDAY), OPEN | {"version": 2, "is_final": 1}],
            1,
            id="until it closes",
        ),
        pytest.param(
            [*MONDAYS, store_minute("north", TUESDAY), OPEN | {"minute": LAST, "version": 2}],
            0,
            id="a late sighting opens it again",
        ),
        pytest.param([store_minute("north", TUESDAY)], 1, id="a dark day that the watermark has passed is final"),
    ],
)
def test_is_final(world: World, minutes: list[Row], is_final: int) -> None:
    world.configure("north")
    for row in (sensor_minute("north", MONDAY), *minutes):
        world.insert([row])
    assert world.days("is_final") == {MONDAY: is_final}
