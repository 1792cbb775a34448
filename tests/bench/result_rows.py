"""Rows as the pipeline sends them to the sink: visits, store minutes and sensor minutes of a chain, in messages.

A message holds rows of one store. All of it is a function of the numbers given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from footfall_events import topics
from footfall_events.rows import encode_rows
from footfall_events.schemas import SENSOR_MINUTES, STORE_MINUTES, VISITS
from footfall_streams.partitioning import partition_of
from numpy.typing import NDArray

from tests.bench.workload import BEGIN_MS

SCHEMAS = {
    topics.VISITS.name: VISITS,
    topics.STORE_MINUTES.name: STORE_MINUTES,
    topics.SENSOR_MINUTES.name: SENSOR_MINUTES,
}
_STORES = 500
_DAY = BEGIN_MS // 86_400_000
_UTC_MS = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True)
class Feed:
    """`rows` rows of one topic in messages of `rows_a_message`, the stores' side by side; both divide by 500."""

    topic: str
    rows: int
    rows_a_message: int
    seed: int = 1

    @property
    def messages(self) -> int:
        return self.rows // self.rows_a_message

    @cached_property
    def _batch(self) -> pa.RecordBatch:
        random = np.random.default_rng(self.seed)
        # Message m is of store m % 500: its rows lie together.
        message = np.arange(self.rows) // self.rows_a_message
        store = message % _STORES
        make = {VISITS: _visits, STORE_MINUTES: _store_minutes, SENSOR_MINUTES: _sensor_minutes}
        schema = SCHEMAS[self.topic]
        columns = make[schema](random, store, message // _STORES * self.rows_a_message + _place(self))
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def encoded(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every message."""
        for number in range(self.messages):
            rows = self._batch.slice(number * self.rows_a_message, self.rows_a_message)
            yield _key(number % _STORES), encode_rows(rows)

    def blocks(self, rows_a_block: int, partitions: int) -> list[pa.Table]:
        """The same rows in the order of each partition, cut into tables of one chunk."""
        partition = np.array([partition_of(_key(store), partitions) for store in range(_STORES)])
        of_row = partition[np.arange(self.rows) // self.rows_a_message % _STORES]
        tables = []
        for number in range(partitions):
            rows = self._batch.take(pa.array(np.flatnonzero(of_row == number)))
            for begin in range(0, rows.num_rows, rows_a_block):
                tables.append(pa.Table.from_batches([rows.slice(begin, rows_a_block)]).combine_chunks())
        return tables


def _key(store: int) -> bytes:
    return f"store-{store:04}".encode()


def _place(feed: Feed) -> NDArray[np.int64]:
    return np.arange(feed.rows) % feed.rows_a_message


def _names(store: NDArray[np.int64]) -> pa.Array:
    return pa.array([_key(number).decode() for number in range(_STORES)]).take(pa.array(store))


def _instants(ms: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(ms, pa.int64(), mask=missing).cast(_UTC_MS)


def _days(count: int) -> pa.Array:
    return pa.array(np.full(count, _DAY, np.int32)).cast(pa.date32())


def _visits(random: np.random.Generator, store: NDArray[np.int64], order: NDArray[np.int64]) -> dict[str, Any]:
    count = len(store)
    outside = random.random(count) < 0.6
    first = BEGIN_MS + order * 100 + random.integers(0, 100_000, count)
    dwell = random.integers(0, 2_000_000, count)
    return {
        "visit_id": random.permutation(count).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        "store_id": _names(store),
        "device_id": random.integers(0, 2**63, count).astype(np.uint64),
        "key_epoch": np.full(count, _DAY, np.uint32),
        "first_seen_at": _instants(first),
        "last_seen_at": _instants(first + dwell + random.integers(0, 300_000, count)),
        "entered_at": _instants(first, outside),
        "left_at": _instants(first + dwell, outside),
        "dwell_s": pa.array((dwell // 1000).astype(np.uint32), mask=outside),
        "sightings": random.integers(1, 60, count).astype(np.uint32),
        "rssi_max_dbm": random.integers(-85, -40, count).astype(np.int8),
        "address_class": np.ones(count, np.int8),
        "role": np.where(outside, 1, np.where(dwell < 300_000, 2, 3)).astype(np.int8),
        "engaged": ~outside & (dwell >= 900_000),
        "business_date": _days(count),
        "rule_version": pa.array(["retail@1"]).take(pa.array(np.zeros(count, np.int64))),
        "version": (order + 1).astype(np.uint64),
        "deleted": (random.random(count) < 0.02).astype(np.uint8),
    }


def _store_minutes(random: np.random.Generator, store: NDArray[np.int64], order: NDArray[np.int64]) -> dict[str, Any]:
    counts = {name: random.poisson(3, len(store)) for name in ("entries", "exits", "passers_by")}
    return {
        **counts,
        "store_id": _names(store),
        "minute": _instants(BEGIN_MS + order * 60_000),
        "business_date": _days(len(store)),
        "sensors_live": np.ones(len(store), np.uint16),
        "present": random.poisson(20, len(store)),
        "is_final": np.ones(len(store), np.uint8),
        "version": (order + 1).astype(np.uint64),
    }


def _sensor_minutes(random: np.random.Generator, store: NDArray[np.int64], order: NDArray[np.int64]) -> dict[str, Any]:
    counted = [field.name for field in SENSOR_MINUTES if pa.types.is_integer(field.type)]
    one = pa.array(["door", "boot-1"])
    return {
        **{name: random.poisson(12, len(store)) for name in counted},
        "store_id": _names(store),
        "sensor_id": one.take(pa.array(np.zeros(len(store), np.int64))),
        "boot_id": one.take(pa.array(np.ones(len(store), np.int64))),
        "minute": _instants(BEGIN_MS + order * 60_000),
        "business_date": _days(len(store)),
        "listening_s": np.full(len(store), 60.0),
    }
