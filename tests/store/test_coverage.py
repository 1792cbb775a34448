"""How much of a business day was heard: exactly 1 if all of it was, on the days the clocks change as well."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from tests.store.world import MONDAY, World, at, heard_all_day, opens, sensor_minutes

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("zone", "cutover", "day", "begin", "end", "hours"),
    [
        pytest.param("UTC", 4, "2026-03-28", "2026-03-28 04:00", "2026-03-29 04:00", 24, id="no change in UTC"),
        pytest.param(BERLIN, 4, "2026-03-27", "2026-03-27 03:00", "2026-03-28 03:00", 24, id="the day before"),
        pytest.param(
            BERLIN, 4, "2026-03-28", "2026-03-28 03:00", "2026-03-29 02:00", 23, id="spring, turning at 04:00"
        ),
        pytest.param(BERLIN, 4, "2026-03-29", "2026-03-29 02:00", "2026-03-30 02:00", 24, id="the day after"),
        pytest.param(BERLIN, 0, "2026-03-29", "2026-03-28 23:00", "2026-03-29 22:00", 23, id="spring, at midnight"),
        pytest.param(BERLIN, 4, "2026-10-24", "2026-10-24 02:00", "2026-10-25 03:00", 25, id="autumn, at 04:00"),
        pytest.param(BERLIN, 0, "2026-10-25", "2026-10-24 22:00", "2026-10-25 23:00", 25, id="autumn, at midnight"),
        pytest.param(LORD_HOWE, 4, "2026-10-03", "2026-10-02 17:30", "2026-10-03 17:00", 23.5, id="by half an hour"),
    ],
)
def test_a_business_day_heard_from_end_to_end_is_covered_exactly(
    world: World, zone: str, cutover: int, day: str, begin: str, end: str, hours: float
) -> None:
    business_date = date.fromisoformat(day)
    world.configure({"id": "north", "sensors": ["door"], "time_zone": zone, "cutover": time(cutover)})
    rows = sensor_minutes("north", business_date, at(begin), at(end))
    assert len(rows) == hours * 60
    world.insert(rows)
    assert world.days("coverage") == {business_date: 1.0}
    assert world.days("day_s", view="sensor_days") == {business_date: hours * 3600}


def test_half_of_the_short_day_is_half(world: World) -> None:
    day = date(2026, 3, 28)
    world.configure({"id": "north", "sensors": ["door"], "time_zone": BERLIN})
    begin = at("2026-03-28 03:00")
    world.insert(sensor_minutes("north", day, begin, begin + timedelta(hours=11.5)))
    assert world.days("coverage") == {day: 0.5}


def test_a_first_day_from_noon_and_a_newest_day_that_runs_are_covered_in_part(world: World) -> None:
    tuesday, wednesday = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
    world.configure("north")
    world.insert(
        [
            *sensor_minutes("north", MONDAY, opens(MONDAY) + timedelta(hours=12), opens(tuesday)),
            *heard_all_day("north", tuesday),
            *sensor_minutes("north", wednesday, opens(wednesday), opens(wednesday) + timedelta(hours=6)),
        ]
    )
    assert world.days("coverage") == {MONDAY: 0.5, tuesday: 1.0, wednesday: 0.25}


TWO_SENSORS = {"id": "north", "sensors": ["door", "till"]}


def test_each_configured_sensor_has_an_equal_share(world: World) -> None:
    world.configure(TWO_SENSORS)
    world.insert(heard_all_day("north", MONDAY))
    assert world.days("coverage") == {MONDAY: 0.5}


def test_a_sensor_run_twice_at_once_covers_no_more_than_itself(world: World) -> None:
    world.configure(TWO_SENSORS)
    for boot in ("a", "b"):
        world.insert(heard_all_day("north", MONDAY, boot_id=boot))
    assert world.days("coverage") == {MONDAY: 0.5}


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param([59.7, 0.1, 0.2], id="two restarts a minute"),
        pytest.param([33.333, 26.667], id="one restart a minute"),
        pytest.param([49.9, 10.1], id="later in the minute"),
    ],
)
def test_a_day_of_restarts_adds_up_to_exactly_one(world: World, seconds: list[float]) -> None:
    world.configure("north")
    for boot, part in enumerate(seconds):
        world.insert(heard_all_day("north", MONDAY, boot_id=str(boot), listening_s=part))
    assert world.days("listened_s", view="sensor_days") == {MONDAY: 86_400}
    assert world.days("coverage") == {MONDAY: 1.0}


def test_sensor_days_tell_which_sensor_was_dark(world: World) -> None:
    world.configure(TWO_SENSORS)
    world.insert(heard_all_day("north", MONDAY))
    found = world.rows("SELECT sensor_id, listened_s, day_s FROM footfall.sensor_days ORDER BY sensor_id")
    assert [tuple(row.values()) for row in found] == [("door", 86_400, 86_400), ("till", 0, 86_400)]
