"""Which rows of chain, stores and sensors a configuration comes to, and since when each sensor is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

from footfall_events.business_days import BusinessDays, date_of, day_number
from footfall_events.stores import ChainConfig, StoreConfig

LOOKBACK_DAYS = 30
FROM_THE_START = date(1970, 1, 1)
"""What ClickHouse calls the newest date of an empty table, and the first date it knows."""
_CALENDAR = range(day_number(date(2000, 1, 1)), day_number(date(2061, 1, 1)))
_USUAL_DAY_S = 86_400

Row = list[Any]
SensorKey = tuple[str, str]
"""Store and sensor."""


class Reader(Protocol):
    """What loading needs of clickhouse-connect's client."""

    def query(self, query: str) -> Any: ...

    def insert(self, table: str, data: Sequence[Sequence[Any]], column_names: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Expected:
    """Dates on which a sensor should be heard; `until` is None while it is configured."""

    since: date
    until: date | None = None


def load_dimensions(client: Reader, chain: ChainConfig) -> None:
    """Add the configuration as one load: a single insert a table, sensors last, for days follow from them."""
    load = _one(client, "SELECT max(load) FROM footfall.chain_log") + 1
    newest: date = _one(client, "SELECT max(business_date) FROM footfall.sensor_minutes_log")
    known = {
        (store_id, sensor_id): Expected(since, until)
        for store_id, sensor_id, since, until in client.query(
            "SELECT store_id, sensor_id, expected_from, expected_to FROM footfall.sensors"
        ).result_rows
    }
    _insert(client, "chain_log", [chain_row(chain)], load, "chain, policy, scope, epoch_days, lookback_days")
    stores = [store_row(store) for store in chain.stores.values()]
    _insert(client, "stores_log", stores, load, "store_id, name, region, time_zone, cutover_hour, area_m2, uneven_days")
    sensors = [[*key, span.since, span.until] for key, span in expected_sensors(chain, known, newest).items()]
    _insert(client, "sensors_log", sensors, load, "store_id, sensor_id, expected_from, expected_to")


def chain_row(chain: ChainConfig) -> Row:
    """The chain's name, policy, scope, epoch and lookback in days."""
    privacy = chain.privacy
    return [chain.chain, privacy.policy, privacy.scope, privacy.days, LOOKBACK_DAYS]


def store_row(store: StoreConfig) -> Row:
    """The store's id, name, region, time zone, cut-over hour, area in square metres, and uneven days."""
    settings = store.versions[0]  # time zone and cut-over never change
    uneven = uneven_days(settings.business_days)
    return [
        store.store_id,
        store.name,
        store.region,
        settings.time_zone,
        settings.cutover.hour,
        store.area_m2,
        dict(uneven),
    ]


@cache
def uneven_days(days: BusinessDays) -> Mapping[date, int]:
    """Length in seconds of each business day of 2000 to 2060 that does not last 24 hours.

    A date that a zone left out (Samoa's 30 December 2011) has no length and is not among them.
    """
    starts = [days.starts_at_ms(number) for number in (*_CALENDAR, _CALENDAR.stop)]
    lengths = [(after - start) // 1000 for start, after in pairwise(starts)]
    return {
        date_of(number): length
        for number, length in zip(_CALENDAR, lengths, strict=True)
        if length not in (0, _USUAL_DAY_S)
    }


def expected_sensors(
    chain: ChainConfig, known: Mapping[SensorKey, Expected], newest: date
) -> dict[SensorKey, Expected]:
    """When every sensor that is or was configured should be heard; `newest` is the chain's newest date heard.

    Of the first load all are expected from the start. Afterwards a new one is expected from the next date on, and one
    that is gone until the newest. One that returns counts as if it had never left.
    """
    since = newest + timedelta(days=1) if known and newest > FROM_THE_START else FROM_THE_START
    configured = [(store.store_id, sensor) for store in chain.stores.values() for sensor in store.sensors]
    spans = {key: Expected(known[key].since if key in known else since) for key in configured}
    gone = {key: Expected(span.since, span.until or newest) for key, span in known.items() if key not in spans}
    return {**spans, **gone}


def _one(client: Reader, query: str) -> Any:
    return client.query(query).result_rows[0][0]


def _insert(client: Reader, table: str, rows: Sequence[Row], load: int, columns: str) -> None:
    client.insert(f"footfall.{table}", [[*row, load] for row in rows], [*columns.split(", "), "load"])
