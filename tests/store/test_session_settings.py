"""Every view answers the same whatever the joins of an analyst's session do with rows that match nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store.test_visitors import DWELLS, day_row, entries, write
from tests.store.world import MONDAY, World, heard_all_day, opens, sensor_minute, store_minute

DAY = timedelta(days=1)
VIEWS = "SELECT name FROM system.tables WHERE database = 'footfall' AND engine = 'View' ORDER BY name"


@pytest.fixture
def chain(world: World) -> World:
    """Three stores: all is known of one, of another nothing is estimated, and of the last nothing is known at all."""
    world.configure("north", "south", "silent")
    for week in range(5):
        day = MONDAY - 7 * week * DAY
        write(world, day_row("north", day))
        for store in ("north", "south"):
            world.insert([*heard_all_day(store, day), store_minute(store, day), *entries(store, day, DWELLS)])
    # Hours without entries, entries without hours, and one minute alone.
    write(world, day_row("north", MONDAY + DAY), day_row("south", MONDAY + 90 * DAY))
    world.insert([*entries("north", MONDAY + 2 * DAY, DWELLS), sensor_minute("north", MONDAY + 3 * DAY)])
    window = {"window_start": opens(MONDAY), "business_date": MONDAY}
    people = {"people": 5.0, "people_lo": 4.0, "people_hi": 6.0}
    row = {"store_id": "north", **window, **people, "method": "filter@1", "calibration_id": "of north", "version": 1}
    world.client.insert("footfall.occupancy_log", [list(row.values())], list(row))
    calibration = {"store_id": "north", "number": 1, "calibration_id": "of north", "method": "filter@1"}
    world.client.insert("footfall.store_calibrations_log", [list(calibration.values())], list(calibration))
    return world


def test_every_view_answers_the_same_under_either_kind_of_join(chain: World) -> None:
    for view in (row["name"] for row in chain.rows(VIEWS)):
        query = f"SELECT * FROM footfall.{view} ORDER BY ALL"
        zeros, nulls = (chain.rows(query, join_use_nulls=value) for value in (0, 1))
        assert zeros, f"{view} has no row: nothing is shown of it"
        # The sums of a chain are taken in parallel: their last digit depends on the order.
        assert nulls == [{key: _about(value) for key, value in row.items()} for row in zeros], view


def _about(value: object) -> object:
    return pytest.approx(value) if isinstance(value, float) else value
