"""The views over the logs: newest versions, no withdrawn rows, boots summed, whatever was inserted how often."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from footfall_events.schemas import AddressClass, Role

from tests.store.world import MINUTE, MONDAY, Row, World, heard_all_day, opens, sensor_minute, store_minute, visit

TUESDAY = MONDAY + timedelta(days=1)


def test_the_newest_version_of_a_visit_wins_in_whatever_order_versions_come(world: World) -> None:
    versions = [visit("north", MONDAY, version=number, sightings=10 * number) for number in (1, 2, 3)]
    for arrival in permutations(versions):
        world.empty()
        for row in arrival:
            world.insert([row])
        assert world.rows("SELECT version, sightings FROM footfall.visits") == [{"version": 3, "sightings": 30}]


def test_a_withdrawn_visit_vanishes_even_if_its_old_version_comes_again(world: World) -> None:
    closed, withdrawn = visit("north", MONDAY, version=1), visit("north", MONDAY, version=2, deleted=1)
    world.insert([closed])
    assert len(world.rows("SELECT * FROM footfall.visits")) == 1
    for row in (withdrawn, closed):
        world.insert([row])
        assert world.rows("SELECT * FROM footfall.visits") == []


def test_a_visit_that_is_no_visitor_any_more_counts_under_its_new_role_only(world: World) -> None:
    world.insert([visit("north", MONDAY, version=1)])
    world.insert([visit("north", MONDAY, version=2, role=Role.STAFF_OR_FIXED)])
    assert world.rows("SELECT role FROM footfall.visits") == [{"role": "staff_or_fixed"}]
    assert world.rows("SELECT * FROM footfall.visitor_days") == []
    assert world.rows("SELECT * FROM footfall.visits WHERE role = 'visitor'") == []


@pytest.mark.parametrize("role", Role)
def test_a_role_shows_by_its_name(world: World, role: Role) -> None:
    world.insert([visit("north", MONDAY, role=role)])
    assert world.rows("SELECT role FROM footfall.visits") == [{"role": role.name.lower()}]


@pytest.mark.parametrize("address_class", [AddressClass.GLOBAL, AddressClass.ASSOCIATED])
def test_an_address_class_shows_by_its_name(world: World, address_class: AddressClass) -> None:
    world.insert([visit("north", MONDAY, address_class=address_class)])
    assert world.rows("SELECT address_class FROM footfall.visits") == [{"address_class": address_class.name.lower()}]


def test_the_newest_version_of_a_store_minute_wins_and_an_emptied_one_vanishes(world: World) -> None:
    minute = opens(MONDAY)
    for version, entries in ((2, 5), (1, 4)):
        world.insert([store_minute("north", MONDAY, minute, version=version, entries=entries)])
    assert world.rows("SELECT entries FROM footfall.store_minutes") == [{"entries": 5}]
    world.insert([store_minute("north", MONDAY, minute, version=3, sensors_live=0)])
    assert world.rows("SELECT * FROM footfall.store_minutes") == []


def test_two_boots_of_a_sensor_minute_add_up_and_two_sensors_do_not(world: World) -> None:
    minute = opens(MONDAY)
    world.insert(
        [
            sensor_minute("north", MONDAY, minute, boot_id="a", listening_s=20.5, frames=7, random_bursts_65=3),
            sensor_minute("north", MONDAY, minute, boot_id="b", listening_s=30.0, frames=5, random_bursts_65=1),
            sensor_minute("north", MONDAY, minute + MINUTE, boot_id="b", frames=1),
            sensor_minute("north", MONDAY, minute, sensor_id="till", frames=2),
        ]
    )
    columns = "sensor_id, minute, listening_s, frames, random_bursts_65, stable_bursts_65"
    found = world.rows(f"SELECT {columns} FROM footfall.sensor_minutes ORDER BY sensor_id, minute")
    assert [tuple(row.values()) for row in found] == [
        ("door", minute, 50.5, 12, 4, 0),
        ("door", minute + MINUTE, 60.0, 1, 0, 0),
        ("till", minute, 60.0, 2, 0, 0),
    ]


def busy_days() -> list[Row]:
    """Two stores, two dates, revisions, a withdrawal, a minute of two boots and one that became empty."""
    revised = visit("north", MONDAY, device=1, dwell_s=300, version=1)
    return [
        *heard_all_day("north", MONDAY),
        *heard_all_day("south", TUESDAY),
        sensor_minute("north", TUESDAY, boot_id="a", listening_s=0.1),
        sensor_minute("north", TUESDAY, boot_id="b", listening_s=0.2),
        revised,
        revised | {"version": 5, "dwell_s": 900, "engaged": True},
        visit("north", MONDAY, device=2, dwell_s=None),
        visit("north", MONDAY, device=3, version=3),
        visit("north", MONDAY, device=3, version=4, deleted=1),
        visit("south", TUESDAY, device=1),
        store_minute("north", MONDAY, is_final=0),
        store_minute("north", MONDAY, version=2),
        store_minute("north", TUESDAY),
        store_minute("south", TUESDAY, version=2, sensors_live=0),
        store_minute("south", TUESDAY, entries=1),
    ]


def shown(world: World) -> dict[str, Any]:
    views = ("visits", "store_minutes", "sensor_minutes", "sensor_days", "visitor_days", "store_days", "chain_days")
    return {view: world.rows(f"SELECT * FROM footfall.{view} ORDER BY ALL") for view in views}


@pytest.fixture
def busy(world: World) -> dict[str, Any]:
    """What the views show of the busy days."""
    world.configure("north", "south")
    world.insert(busy_days())
    before = shown(world)
    assert [len(before[view]) for view in ("visits", "store_minutes", "store_days")] == [3, 2, 4]
    return before


def test_the_same_rows_once_more_change_nothing(world: World, busy: dict[str, Any]) -> None:
    world.insert(busy_days())
    assert shown(world) == busy


def test_the_same_rows_in_another_order_and_other_blocks_give_the_same(world: World, busy: dict[str, Any]) -> None:
    world.empty()
    world.configure("north", "south")
    backwards = busy_days()[::-1]
    world.insert(backwards[:700])
    world.insert(backwards[700:])
    assert shown(world) == busy


def test_merging_parts_changes_nothing(world: World, busy: dict[str, Any]) -> None:
    world.insert(busy_days()[::-1])
    for table in ("visits_log", "store_minutes_log", "sensor_minutes_log"):
        world.client.command(f"OPTIMIZE TABLE footfall.{table} FINAL")
    assert shown(world) == busy


def test_a_sessions_own_join_settings_change_nothing(world: World, busy: dict[str, Any]) -> None:
    for value in (0, 1):
        for view, rows in busy.items():
            query = f"SELECT * FROM footfall.{view} ORDER BY ALL"
            assert world.rows(query, join_use_nulls=value) == rows, f"{view} with join_use_nulls = {value}"


@pytest.mark.parametrize("view", ["visits", "store_minutes", "sensor_minutes"])
def test_a_query_of_a_date_reads_that_months_part_only(world: World, view: str) -> None:
    for month in range(1, 6):
        day = MONDAY.replace(month=month)
        world.insert([visit("north", day), store_minute("north", day), sensor_minute("north", day)])
    plan = world.rows(f"EXPLAIN ESTIMATE SELECT * FROM footfall.{view} WHERE business_date >= '2026-05-01'")
    assert [(row["table"], row["parts"]) for row in plan] == [(f"{view}_log", 1)]


@pytest.mark.parametrize("table", ["sensor_minutes_log", "store_minutes_log"])
def test_first_and_last_dates_of_all_history_come_from_the_projection(world: World, table: str) -> None:
    world.insert([sensor_minute("north", MONDAY), store_minute("north", MONDAY)])
    plan = world.rows(f"EXPLAIN SELECT store_id, max(business_date) FROM footfall.{table} GROUP BY store_id")
    assert "ReadFromMergeTree (span)" in "\n".join(row["explain"] for row in plan)
