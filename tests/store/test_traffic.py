"""The Traffic Index: 100 is the store's own median for that hour of the week."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from tests.store.world import MINUTE, MONDAY, Row, World, opens, sensor_minute

WEEK = timedelta(weeks=1)


def hour(day: date, heard: int, sensor: str = "door", minutes: int = 60) -> list[Row]:
    """The date's first hour with as many random and stable addresses in each minute."""
    counts = {"random_addresses_65": heard, "stable_addresses_65": heard, "sensor_id": sensor}
    return [sensor_minute("north", day, opens(day) + number * MINUTE, **counts) for number in range(minutes)]


def index(world: World, day: date) -> tuple[float | None, int] | None:
    query = "SELECT * FROM footfall.traffic_hours ORDER BY ALL"
    found, again = (world.rows(query, join_use_nulls=value) for value in (0, 1))
    assert again == found, "a session's own join settings change the view"
    by_hour: dict[datetime, tuple[float | None, int]] = {}
    for row in found:
        value = row["traffic_index"]
        by_hour[row["hour_start"]] = (None if value is None else round(value, 6), row["weeks"])
    assert len(by_hour) == len(found)
    return by_hour.get(opens(day))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param([10, 20, 40, 80], (100 * 60 / 30, 4), id="the median of four weeks"),
        pytest.param([10, 20, 40, 80, 900], (100 * 60 / 30, 4), id="a fifth week is too long ago"),
        pytest.param([30, None, 50], (150, 2), id="a week in the dark is left out"),
        pytest.param([30], (None, 1), id="one week is no habit"),
        pytest.param([], (None, 0), id="nothing to compare with"),
        pytest.param([0, 0], (None, 2), id="an hour that is always silent"),
    ],
)
def test_an_hour_is_compared_with_the_same_hour_of_the_weeks_before(
    world: World, before: list[int | None], expected: tuple[float | None, int]
) -> None:
    world.configure("north")
    world.insert(hour(MONDAY, 60))
    for number, heard in enumerate(before, start=1):
        if heard is not None:
            world.insert(hour(MONDAY - number * WEEK, heard))
    assert index(world, MONDAY) == expected


def test_a_sensor_more_or_less_shifts_nothing(world: World) -> None:
    world.configure("north")
    for number in range(1, 5):
        world.insert([*hour(MONDAY - number * WEEK, 10), *hour(MONDAY - number * WEEK, 70, "till")])
    world.insert([*hour(MONDAY, 20), *hour(MONDAY, 500, "a new one")])
    assert index(world, MONDAY) == (200, 4)


def test_less_than_half_an_hour_says_nothing(world: World) -> None:
    world.configure("north")
    world.insert(hour(MONDAY, 60, minutes=29))
    assert index(world, MONDAY) is None
    world.insert(hour(MONDAY, 60, minutes=30))
    assert index(world, MONDAY) == (None, 0)
