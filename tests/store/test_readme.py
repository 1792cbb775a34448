"""The guide for analysts and engineers says nothing that is not so: its queries run, its names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from footfall_sinks.metrics import SinkMetrics
from footfall_sinks.settings import SinkSettings
from prometheus_client import CollectorRegistry

from tests.store.test_visitors import day_row, write
from tests.store.world import (
    LOYALTY,
    MONDAY,
    World,
    heard_all_day,
    opens,
    sensor_minute,
    sensor_minutes,
    store_minute,
    visit,
)

README = (Path(__file__).resolve().parents[2] / "sinks" / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?);\n```$", README, re.DOTALL | re.MULTILINE)


def names(pattern: str) -> set[str]:
    return set(re.findall(pattern, README))


@pytest.fixture
def june(world: World) -> World:
    """Two stores in the first week of June; one of them is dark on the second day. One hour is busier than before."""
    north = {"id": "north", "sensors": ["door"], "name": "North Street", "region": "west", "area_m2": 420}
    world.configure(north, "south", **LOYALTY)
    for day in (MONDAY + timedelta(days=number) for number in range(3)):
        world.insert([*heard_all_day("north", day), store_minute("north", day, entries=2), visit("north", day)])
    write(world, day_row("north", MONDAY))
    for weeks, heard in enumerate((9, 3, 3)):
        begin = opens(MONDAY) - timedelta(weeks=weeks) + timedelta(hours=5)
        world.insert(sensor_minutes("south", MONDAY, begin, begin + timedelta(hours=1), random_addresses_65=heard))
    world.insert([sensor_minute("south", MONDAY, random_addresses_65=3), visit("south", MONDAY, dwell_s=None)])
    return world


def test_there_are_twelve_queries() -> None:
    assert [query.split(".")[0] for query in QUERIES] == [f"-- {number}" for number in range(1, 13)]
    assert README.count("```sql") == 12


def test_every_query_of_the_guide_finds_something(june: World) -> None:
    for query in QUERIES:
        assert june.rows(query), query


def test_the_guide_lists_every_view(world: World) -> None:
    views = world.rows("SELECT name FROM system.tables WHERE database = 'footfall' AND engine = 'View'")
    assert {view["name"] for view in views} == set(re.findall(r"`(\w+)`", "".join(_first_cells())))


def _first_cells() -> Iterator[str]:
    """First cells of the table of views."""
    table = README.partition("| view |")[2].partition("\n\n")[0]
    yield from re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)


class _Asked(Mapping[str, str]):
    """Settings that note which of them are looked up."""

    _given: ClassVar[dict[str, str]] = {
        "FOOTFALL_BOOTSTRAP": "kafka:9092",
        "FOOTFALL_CLICKHOUSE": "http://clickhouse:8123",
    }

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def test_the_guide_lists_every_setting() -> None:
    asked = _Asked()
    SinkSettings.from_mapping(asked)
    assert names(r"`(FOOTFALL_\w+)`") == asked.names | {"FOOTFALL_CONFIG"}


def test_the_guide_lists_every_metric() -> None:
    registry = CollectorRegistry()
    SinkMetrics(registry)
    found = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert names(r"`(footfall_sinks_\w+)`") == found
