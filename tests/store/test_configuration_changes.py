"""Stores and sensors come and go; what was counted and covered before does not change by it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from tests.store.world import DIMENSIONS, MONDAY, World, heard_all_day, visit

TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=number) for number in (1, 2, 3))
DAY_OF_CHAIN = "stores_heard, stores_configured, stable_visits, coverage"


@pytest.fixture
def two_days(world: World) -> World:
    """North and south, heard on Monday and Tuesday, one visit each on Monday."""
    world.configure("north", "south")
    stores = ("north", "south")
    world.insert([row for store in stores for day in (MONDAY, TUESDAY) for row in heard_all_day(store, day)])
    world.insert([visit(store, MONDAY) for store in stores])
    return world


def coverage(world: World, store: str) -> dict[date, Any]:
    return world.days("coverage", store)


def test_a_store_configured_from_the_start_and_never_heard_is_dark_on_every_date(world: World) -> None:
    world.configure("north", "south")
    world.insert([*heard_all_day("north", MONDAY), *heard_all_day("north", TUESDAY)])
    assert coverage(world, "south") == {MONDAY: 0, TUESDAY: 0}
    assert world.chain_days(DAY_OF_CHAIN)[MONDAY] == (1, 2, 0, 0.5)


def test_a_store_added_later_leaves_the_dates_before_alone(two_days: World) -> None:
    before = two_days.chain_days(DAY_OF_CHAIN)
    two_days.configure("north", "south", "east")
    assert coverage(two_days, "east") == {}
    assert two_days.chain_days(DAY_OF_CHAIN) == before == {MONDAY: (2, 2, 2, 1), TUESDAY: (2, 2, 0, 1)}


def test_a_store_added_later_is_dark_from_the_next_date_until_it_is_heard(two_days: World) -> None:
    two_days.configure("north", "south", "east")
    two_days.insert([*heard_all_day("north", THURSDAY), *heard_all_day("east", THURSDAY)])
    assert coverage(two_days, "east") == {WEDNESDAY: 0, THURSDAY: 1}


def test_a_store_heard_before_its_configuration_is_loaded_counts_from_its_first_date(two_days: World) -> None:
    two_days.insert([*heard_all_day("east", TUESDAY), visit("east", TUESDAY)])
    two_days.configure("north", "south", "east")
    assert two_days.days("coverage, stable_visits", "east") == {TUESDAY: (1, 1)}


def test_a_store_removed_keeps_its_history_and_ends(two_days: World) -> None:
    before = two_days.days("stable_visits, stable_new, coverage, is_final", "south")
    two_days.configure("north")
    two_days.insert(heard_all_day("north", WEDNESDAY))
    assert two_days.days("stable_visits, stable_new, coverage, is_final", "south") == before
    assert list(before) == [MONDAY, TUESDAY]
    assert two_days.chain_days(DAY_OF_CHAIN) == {
        MONDAY: (2, 2, 2, 1),
        TUESDAY: (2, 2, 0, 1),
        WEDNESDAY: (1, 1, 0, 1),
    }
    assert two_days.rows("SELECT store_id, sensors FROM footfall.stores ORDER BY store_id") == [
        {"store_id": "north", "sensors": 1},
        {"store_id": "south", "sensors": 0},
    ]


def test_what_a_removed_store_still_sends_is_shown(two_days: World) -> None:
    two_days.configure("north")
    two_days.insert([*heard_all_day("south", WEDNESDAY), visit("south", WEDNESDAY)])
    assert two_days.days("stable_visits, coverage", "south")[WEDNESDAY] == (1, 1)


def test_a_store_that_returns_counts_as_if_it_had_never_left(two_days: World) -> None:
    two_days.configure("north")
    two_days.insert(heard_all_day("north", WEDNESDAY))
    two_days.configure("north", "south")
    assert coverage(two_days, "south") == {MONDAY: 1, TUESDAY: 1, WEDNESDAY: 0}


def test_a_sensor_added_later_does_not_halve_the_coverage_of_the_past(two_days: World) -> None:
    two_days.configure({"id": "north", "sensors": ["door", "till"]}, "south")
    two_days.insert(heard_all_day("north", WEDNESDAY))
    assert coverage(two_days, "north") == {MONDAY: 1, TUESDAY: 1, WEDNESDAY: 0.5}


def test_a_sensor_removed_does_not_raise_the_coverage_of_the_past(world: World) -> None:
    world.configure({"id": "north", "sensors": ["door", "till"]})
    world.insert([*heard_all_day("north", MONDAY), *heard_all_day("north", MONDAY, sensor_id="till")])
    world.insert(heard_all_day("north", TUESDAY))
    world.configure("north")
    world.insert(heard_all_day("north", WEDNESDAY))
    assert coverage(world, "north") == {MONDAY: 1, TUESDAY: 0.5, WEDNESDAY: 1}


def test_a_store_that_changes_its_name_has_one_row(two_days: World) -> None:
    two_days.configure({"id": "north", "sensors": ["door"], "name": "North Street", "area_m2": 420}, "south")
    found = two_days.rows("SELECT name, area_m2 FROM footfall.stores WHERE store_id = 'north'")
    assert found == [{"name": "North Street", "area_m2": 420}]
    assert len(two_days.days("coverage")) == 2


def test_every_load_has_its_number_so_that_none_looks_like_an_earlier_one(world: World) -> None:
    for number in (1, 2, 3):
        world.configure("north")
        for table in DIMENSIONS:
            assert world.rows(f"SELECT load FROM footfall.{table} FINAL") == [{"load": number}]
