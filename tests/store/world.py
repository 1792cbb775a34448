"""A small chain written by hand into the log tables, in the rows and through the client that the sink uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from footfall_events.schemas import SENSOR_MINUTES, AddressClass, Role
from footfall_events.stores import ChainConfig, parse_chain
from footfall_sinks.batch import TARGETS
from footfall_sinks.clickhouse import ClickHouseStore
from footfall_sinks.schema_dimensions import load_dimensions

Row = dict[str, Any]

MONDAY = date(2026, 6, 1)
"""The first day of most worlds."""
MINUTE = timedelta(minutes=1)
LOYALTY = {"policy": "loyalty", "days": 30, "legal_basis": "consent", "notice_date": MONDAY}
DIMENSIONS = ("chain_log", "stores_log", "sensors_log")
ESTIMATES = ("store_calibrations_log", "occupancy_log", "occupancy_days_log")


def at(text: str) -> datetime:
    """An instant in UTC, e.g. `at("2026-03-28 03:00")`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opens(day: date) -> datetime:
    """When a business date begins in a store whose zone is UTC: at the usual cut-over, 04:00."""
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


def chain_of(*stores: Row | str, **privacy: Any) -> ChainConfig:
    """A configuration; a store given by its name alone lies in UTC and has one sensor, `door`."""
    tables = [{"id": store, "sensors": ["door"]} if isinstance(store, str) else store for store in stores]
    return parse_chain({"chain": "tests", "privacy": privacy, "stores": tables})


def visit(store: str, day: date, device: int = 1, dwell_s: int | None = 600, **columns: Any) -> Row:
    """One closed visit that begins six hours into the business date; a visitor if it entered at all."""
    first = columns.pop("first", opens(day) + timedelta(hours=6))
    left = None if dwell_s is None else first + timedelta(seconds=dwell_s)
    row = {
        "visit_id": crc32(f"{store} {device} {first}".encode()),
        "store_id": store,
        "device_id": device,
        "key_epoch": 7,
        "first_seen_at": first,
        "last_seen_at": left or first + MINUTE,
        "entered_at": None if dwell_s is None else first,
        "left_at": left,
        "dwell_s": dwell_s,
        "sightings": 9,
        "rssi_max_dbm": -50,
        "address_class": AddressClass.GLOBAL,
        "role": Role.PASSER_BY if dwell_s is None else Role.VISITOR,
        "engaged": dwell_s is not None and dwell_s >= 900,
        "business_date": day,
        "rule_version": "retail@1",
        "version": 1,
        "deleted": 0,
    }
    return row | columns


def store_minute(store: str, day: date, minute: datetime | None = None, **columns: Any) -> Row:
    """One published minute, the first of its date unless said otherwise; final, nobody about, one sensor heard."""
    counts = {"sensors_live": 1, "present": 0, "entries": 0, "exits": 0, "passers_by": 0, "is_final": 1, "version": 1}
    return {"store_id": store, "minute": minute or opens(day), "business_date": day} | counts | columns


def sensor_minute(store: str, day: date, minute: datetime | None = None, **columns: Any) -> Row:
    """One minute of the sensor `door`, the first of its date unless said otherwise; it listened and heard nothing."""
    row = dict.fromkeys(SENSOR_MINUTES.names, 0)
    names = {"store_id": store, "sensor_id": "door", "boot_id": "boot-1"}
    return row | names | {"minute": minute or opens(day), "business_date": day, "listening_s": 60.0} | columns


def sensor_minutes(store: str, day: date, begin: datetime, end: datetime, **columns: Any) -> list[Row]:
    """Every minute from begin to end, all of the business date given."""
    minutes = round((end - begin) / MINUTE)
    return [sensor_minute(store, day, begin + number * MINUTE, **columns) for number in range(minutes)]


def heard_all_day(store: str, day: date, **columns: Any) -> list[Row]:
    """All minutes of a business date in UTC."""
    return sensor_minutes(store, day, opens(day), opens(day) + timedelta(days=1), **columns)


class World:
    """The tables of one test; rows go in as the sink's blocks do."""

    def __init__(self, client: Client, store: ClickHouseStore) -> None:
        self.client = client
        self._store = store

    def empty(self) -> None:
        """Take every row out of the logs and the dimensions."""
        for table in (*(target.table for target in TARGETS.values()), *DIMENSIONS, *ESTIMATES):
            self.client.command(f"TRUNCATE TABLE footfall.{table}")

    def configure(self, *stores: Row | str, **privacy: Any) -> None:
        """Load a configuration, as `footfall schema apply --config` does."""
        load_dimensions(self.client, chain_of(*stores, **privacy))

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows of any of the three logs, a block a log, in the order given."""
        for table, schema in ((target.table, target.schema) for target in TARGETS.values()):
            block = [row for row in rows if _table(row) == table]
            if block:
                self._store.insert(table, pa.Table.from_pylist(block, schema=schema))

    def rows(self, sql: str, **settings: Any) -> list[Row]:
        """What a query answers."""
        return list(self.client.query(sql, settings=settings, tz_mode="aware").named_results())

    def days(self, columns: str, store: str = "north", view: str = "store_days") -> dict[date, Any]:
        """Figures of a store by date: a tuple of the columns named, or the one column's value."""
        where = "" if view == "chain_days" else f"WHERE store_id = '{store}'"
        found = self.rows(f"SELECT business_date, {columns} FROM footfall.{view} {where} ORDER BY business_date")
        names = columns.split(", ")
        return {row["business_date"]: _figures(row, names) for row in found}

    def chain_days(self, columns: str) -> dict[date, Any]:
        """The same of the chain."""
        return self.days(columns, view="chain_days")


def _figures(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)


def _table(row: Row) -> str:
    if "visit_id" in row:
        return "visits_log"
    return "sensor_minutes_log" if "sensor_id" in row else "store_minutes_log"
