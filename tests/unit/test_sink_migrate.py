"""Which statements are run, and which rows a configuration comes to; the tables themselves are in tests/store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from footfall_events.business_days import BusinessDays
from footfall_events.errors import ConfigError
from footfall_events.stores import ChainConfig, parse_chain
from footfall_sinks.migrate import apply_schema, migrations, statements
from footfall_sinks.schema_dimensions import (
    FROM_THE_START,
    Expected,
    chain_row,
    expected_sensors,
    store_row,
    uneven_days,
)

NEWEST = date(2026, 6, 10)
NEXT = NEWEST + timedelta(days=1)
KEYS = [("north", "door"), ("north", "till"), ("south", "door")]


class Scripted:
    """A client that notes what it is told, knows what was applied, and fails at the statement named."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.applied: list[list[str]] = []
        self.fail_at = ""

    def command(self, cmd: str) -> None:
        if self.fail_at and self.fail_at in cmd:
            raise ConnectionError("gone")
        self.commands.append(cmd)

    def query(self, query: str) -> Any:
        assert "schema_migrations" in query
        return SimpleNamespace(result_rows=[tuple(row) for row in self.applied])

    def insert(self, table: str, data: Sequence[Sequence[Any]], column_names: Sequence[str]) -> None:
        assert table == "footfall.schema_migrations"
        self.applied += [list(row) for row in data]


def chain_of(**sensors: list[str]) -> ChainConfig:
    return parse_chain({"stores": [{"id": store, "sensors": names} for store, names in sensors.items()]})


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        pytest.param("SELECT 1;\n", ["SELECT 1"], id="one"),
        pytest.param("SELECT 1;\n\nSELECT\n2;\n", ["SELECT 1", "SELECT\n2"], id="two"),
        pytest.param("SELECT 1;\nSELECT 2;", ["SELECT 1", "SELECT 2"], id="the last line needs no end"),
        pytest.param("SELECT 'a; b';\n", ["SELECT 'a; b'"], id="a semicolon inside a line ends nothing"),
        pytest.param("-- a; remark;\nSELECT 1;\n-- the end;\n", ["SELECT 1"], id="remarks are dropped"),
        pytest.param("", [], id="none"),
    ],
)
def test_statements(sql: str, wanted: list[str]) -> None:
    assert statements(sql) == wanted


def test_every_file_is_applied_in_the_order_of_its_number_and_once() -> None:
    client = Scripted()
    assert apply_schema(client, None) == sorted(migrations()) == list(migrations())
    once = len(client.commands)
    assert apply_schema(client, None) == []
    assert client.commands[once:] == client.commands[:2]  # the database and the table of migrations, if missing


def test_a_file_that_broke_off_half_way_is_applied_from_its_start() -> None:
    client = Scripted()
    client.fail_at = "footfall.sensors_log"
    with pytest.raises(ConnectionError):
        apply_schema(client, None)
    assert [name for name, _ in client.applied] == ["0001_logs.sql"]
    client.fail_at = ""
    assert apply_schema(client, None) == list(migrations())[1:]
    assert len([command for command in client.commands if "footfall.chain_log\n" in command]) == 2


def test_every_statement_may_be_run_again() -> None:
    for name, sql in migrations().items():
        for statement in statements(sql):
            again = ("CREATE TABLE IF NOT EXISTS", "CREATE OR REPLACE VIEW")
            assert statement.startswith(again) or " MODIFY SETTING " in statement, name


def test_every_altered_file_is_named_and_nothing_is_applied() -> None:
    client = Scripted()
    names = list(migrations())
    client.applied = [[names[0], "another sum"], [names[2], "another sum"]]
    with pytest.raises(ConfigError) as caught:
        apply_schema(client, None)
    assert [problem.split()[0] for problem in caught.value.problems] == [names[0], names[2]]
    assert len(client.commands) == 2
    assert len(client.applied) == 2


def test_the_first_load_expects_every_sensor_from_the_start() -> None:
    chain = chain_of(north=["door", "till"], south=["door"])
    wanted = {(store, sensor): Expected(FROM_THE_START) for store, sensor in KEYS}
    assert expected_sensors(chain, {}, NEWEST) == wanted


OLD, GONE = Expected(FROM_THE_START), Expected(FROM_THE_START, date(2026, 5, 1))


@pytest.mark.parametrize(
    ("known", "newest", "wanted"),
    [
        pytest.param(OLD, NEWEST, OLD, id="a known one keeps its date"),
        pytest.param(GONE, NEWEST, OLD, id="one that returns has never left"),
        pytest.param(None, NEWEST, Expected(NEXT), id="a new one is expected from the next date"),
        pytest.param(None, FROM_THE_START, OLD, id="while nothing was heard a new one is expected from the start"),
    ],
)
def test_a_configured_sensor(known: Expected | None, newest: date, wanted: Expected) -> None:
    before = {("south", "door"): OLD} | ({("north", "door"): known} if known else {})
    after = expected_sensors(chain_of(north=["door"], south=["door"]), before, newest)
    assert after == {("north", "door"): wanted, ("south", "door"): OLD}


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        pytest.param(OLD, Expected(FROM_THE_START, NEWEST), id="one that leaves is expected until the newest date"),
        pytest.param(GONE, GONE, id="one that left before keeps its last date"),
    ],
)
def test_a_sensor_that_is_not_configured(known: Expected, wanted: Expected) -> None:
    before = {("north", "door"): OLD, ("north", "till"): known}
    after = expected_sensors(chain_of(north=["door"]), before, NEWEST)
    assert after == {("north", "door"): OLD, ("north", "till"): wanted}


@pytest.mark.parametrize(
    ("zone", "cutover", "wanted"),
    [
        pytest.param("UTC", 4, {}, id="UTC never changes"),
        pytest.param(
            "Europe/Berlin", 4, {"2026-03-28": 23, "2026-10-24": 25}, id="the night belongs to the day before"
        ),
        pytest.param("Europe/Berlin", 0, {"2026-03-29": 23, "2026-10-25": 25}, id="unless the date turns at midnight"),
        pytest.param("America/New_York", 4, {"2026-03-07": 23, "2026-10-31": 25}, id="other dates in other zones"),
        pytest.param("Australia/Lord_Howe", 4, {"2026-04-04": 24.5, "2026-10-03": 23.5}, id="half an hour"),
    ],
)
def test_uneven_days_of_2026(zone: str, cutover: int, wanted: dict[str, float]) -> None:
    found = uneven_days(BusinessDays(ZoneInfo(zone), time(cutover)))
    hours = {str(day): length / 3600 for day, length in found.items() if day.year == 2026}
    assert hours == wanted


def test_uneven_days_reach_from_2000_to_2060() -> None:
    found = sorted(uneven_days(BusinessDays(ZoneInfo("Europe/Berlin"), time(4))))
    assert (found[0], found[-1], len(found)) == (date(2000, 3, 25), date(2060, 10, 30), 2 * 61)


def test_a_date_that_a_zone_left_out_has_no_length() -> None:
    found = uneven_days(BusinessDays(ZoneInfo("Pacific/Apia"), time(4)))
    assert date(2011, 12, 30) not in found
    assert date(2011, 9, 23) in found


def test_a_store_and_the_chain_as_rows() -> None:
    store = {"id": "north", "name": "North Street", "region": "west", "time_zone": "UTC", "cutover": time(3)}
    chain = parse_chain({"chain": "example", "stores": [store | {"area_m2": 420, "sensors": ["door"]}]})
    assert store_row(chain.stores["north"]) == ["north", "North Street", "west", "UTC", 3, 420.0, {}]
    assert chain_row(chain) == ["example", "daily", "store", 1, 30]
