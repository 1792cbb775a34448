"""Calibrations and estimates in ClickHouse: which dates are to be worked out, from what, and what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
from footfall_estimates.calibration import Calibration, from_json
from footfall_estimates.days import DayTotal
from footfall_estimates.evaluation import Windows
from footfall_estimates.minutes import COLUMNS, PASSING, Heard, heard
from footfall_events.errors import ConfigError

from footfall_sinks.schema_dimensions import FROM_THE_START

WINDOW_MIN = 5


class Client(Protocol):
    """What is needed of clickhouse-connect's client."""

    def query(self, query: str, parameters: dict[str, Any] | None = None) -> Any: ...

    def insert(self, table: str, data: Sequence[Sequence[Any]], column_names: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class StoreDate:
    """A store's business date to be worked out from `inputs`, a hash; `version` is that of the rows to come."""

    store_id: str
    business_date: date
    inputs: int
    version: int


@dataclass(frozen=True)
class Newest:
    """A store's newest window: its start, and people inside with the 95 % interval."""

    store_id: str
    calibration_id: str
    window_start: datetime
    people: float
    lo: float
    hi: float
    drifts: bool


def store_calibration(client: Client, calibration: Calibration) -> int:
    """Make it the store's newest; its number. The one that is the newest already keeps its number."""
    found = client.query(
        "SELECT number, calibration_id FROM footfall.store_calibrations WHERE store_id = {store:String} AND is_used",
        {"store": calibration.store_id},
    ).result_rows
    number, newest = found[0] if found else (0, "")
    if newest == calibration.calibration_id:
        return int(number)
    row = [
        calibration.store_id,
        number + 1,
        calibration.calibration_id,
        calibration.method,
        calibration.to_json(),
        calibration.fitted_on_json(),
        calibration.borrowed_from,
    ]
    columns = "store_id, number, calibration_id, method, parameters, fitted_on, borrowed_from"
    client.insert("footfall.store_calibrations_log", [row], columns.split(", "))
    return int(number) + 1


def used_calibration(client: Client, store_id: str) -> Calibration:
    """A store's newest calibration; raises ConfigError if it has none."""
    found = _calibration(client, "store_id = {value:String} AND is_used", store_id)
    if found is None:
        raise ConfigError([f"store {store_id!r} has no calibration: make one with `footfall calibrate`"])
    return found


def calibration_named(client: Client, calibration_id: str) -> Calibration:
    """The calibration of an id, whatever store uses it; raises ConfigError if there is none."""
    found = _calibration(client, "calibration_id = {value:String}", calibration_id)
    if found is None:
        raise ConfigError([f"calibration {calibration_id!r} is neither a file nor in store_calibrations"])
    return found


def _calibration(client: Client, condition: str, value: str) -> Calibration | None:
    sql = f"SELECT parameters FROM footfall.store_calibrations WHERE {condition} LIMIT 1"
    rows = client.query(sql, {"value": value}).result_rows
    return from_json(rows[0][0], f"calibration of {value}") if rows else None


def outdated(client: Client, last_days: int | None = None) -> list[StoreDate]:
    """Dates of calibrated stores whose minutes or calibration are not those of their estimates, oldest first.

    With `last_days` only that many dates are looked at, up to the chain's newest that is not ahead of the server's
    clock: all of history is a scan of every sensor minute.
    """
    rows = client.query(
        f"""
        SELECT m.store_id, m.business_date, bitXor(m.hash, cityHash64(c.calibration_id)) AS inputs, o.version + 1
        FROM
        (
            SELECT store_id, business_date, groupBitXor(cityHash64({", ".join(_INPUTS)})) AS hash
            FROM footfall.sensor_minutes_log FINAL
            WHERE business_date >= {{since:Date}}
            GROUP BY store_id, business_date
        ) AS m
        INNER JOIN (SELECT store_id, calibration_id FROM footfall.store_calibrations WHERE is_used) AS c
            ON c.store_id = m.store_id
        LEFT JOIN
        (
            SELECT store_id, business_date, inputs, version
            FROM footfall.occupancy_days_log FINAL
            WHERE business_date >= {{since:Date}}
        ) AS o ON o.store_id = m.store_id AND o.business_date = m.business_date
        WHERE o.version = 0 OR o.inputs != inputs
        ORDER BY m.business_date, m.store_id
        """,
        {"since": _since(client, last_days)},
    ).result_rows
    return [StoreDate(*row) for row in rows]


_INPUTS = ("sensor_id", "boot_id", "minute", "listening_s", *COLUMNS, PASSING)
"""Columns of `sensor_minutes_log` that estimates rest on."""
_NEWEST_DATE = "SELECT max(business_date) FROM footfall.sensor_minutes_log WHERE business_date <= today() + 1"
"""The newest date heard that is not ahead of the server's clock; may go on with AND."""


def newest_windows(client: Client, last_days: int) -> list[Newest]:
    """Each store's newest window of so many dates that is not ahead of the server's clock."""
    rows = client.query(
        """
        SELECT
            store_id, argMax(calibration_id, window_start), max(window_start), argMax(occupancy_estimate, window_start),
            argMax(occupancy_estimate_lo, window_start), argMax(occupancy_estimate_hi, window_start),
            argMax(calibration_drifts, window_start) = 1
        FROM footfall.occupancy_5min
        WHERE business_date >= {since:Date} AND window_start <= now() + INTERVAL 1 HOUR
        GROUP BY store_id
        ORDER BY store_id
        """,
        {"since": _since(client, last_days)},
    ).result_rows
    return [Newest(store, name, start.replace(tzinfo=UTC), *values) for store, name, start, *values in rows]


def _since(client: Client, last_days: int | None) -> date:
    if last_days is None:
        return FROM_THE_START
    newest: date = client.query(_NEWEST_DATE).result_rows[0][0]
    return max(newest - timedelta(days=last_days - 1), FROM_THE_START)


def heard_on(client: Client, day: StoreDate) -> Heard:
    """What the store's sensors heard nearby on the date."""
    found = _heard(client, day.store_id, "business_date = {date:Date}", {"date": day.business_date})
    return found.get(day.business_date, heard([]))


def heard_lately(client: Client, store_id: str, last_days: int = 7) -> list[Heard]:
    """The same of the store's newest dates."""
    newest = f"{_NEWEST_DATE} AND store_id = {{store:String}}"
    return list(_heard(client, store_id, f"business_date > ({newest}) - {{days:UInt8}}", {"days": last_days}).values())


def heard_between(client: Client, store_id: str, from_s: float, to_s: float) -> dict[date, Heard]:
    """The same from one instant to another, seconds since 1970, by business date."""
    between = "minute >= fromUnixTimestamp64Milli({begin:Int64}) AND minute < fromUnixTimestamp64Milli({end:Int64})"
    return _heard(client, store_id, between, {"begin": int(from_s // 60) * 60_000, "end": int(to_s * 1000)})


def _heard(client: Client, store_id: str, condition: str, values: Mapping[str, Any]) -> dict[date, Heard]:
    columns = ["business_date", "sensor_id", "minute", "listening_s", *COLUMNS, PASSING]
    found = client.query(
        f"SELECT {', '.join(columns)} FROM footfall.sensor_minutes WHERE store_id = {{store:String}} AND {condition}",
        {"store": store_id, **values},
    )
    by_date: dict[date, list[dict[str, Any]]] = defaultdict(list)
    for values_of_row in found.result_rows:
        row = dict(zip(columns, values_of_row, strict=True))
        # The driver gives instants of a UTC column without a zone.
        by_date[row["business_date"]].append({**row, "minute": row["minute"].replace(tzinfo=UTC)})
    return {day: heard(of_day) for day, of_day in sorted(by_date.items())}


def write_occupancy(
    client: Client, day: StoreDate, calibration: Calibration, windows: Windows, total: DayTotal
) -> None:
    """Write a date's windows, then the date: only with it do they count, and those of before no more."""
    origin = [calibration.method, calibration.calibration_id]
    values = np.column_stack([windows.people, windows.lo, windows.hi]).tolist()
    rows = [
        [day.store_id, datetime.fromtimestamp(number * WINDOW_MIN * 60, UTC), day.business_date, *people, *origin]
        for number, people in zip(windows.numbers.tolist(), values, strict=True)
    ]
    if rows:
        columns = "store_id, window_start, business_date, people, people_lo, people_hi, method, calibration_id, version"
        client.insert("footfall.occupancy_log", [[*row, day.version] for row in rows], columns.split(", "))
    figures = [total.visitor_h, total.visitor_h_lo, total.visitor_h_hi, total.hearing, total.apart, total.beyond]
    row = [day.store_id, day.business_date, len(rows), *figures, *origin, day.inputs, day.version]
    columns = (
        "store_id, business_date, windows, visitor_hours, visitor_hours_lo, visitor_hours_hi, sensors_hearing, apart, "
        "beyond, method, calibration_id, inputs, version"
    )
    client.insert("footfall.occupancy_days_log", [row], columns.split(", "))
