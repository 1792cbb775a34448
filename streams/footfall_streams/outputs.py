"""Rows of `visits.v1` and `store_minutes.v1` from presences and minutes, as one Arrow batch of all stores."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from footfall_events.schemas import STORE_MINUTES, VISITS, Role
from numpy.typing import NDArray

from footfall_streams.minutes import MinuteRows, starts_ms, stores_of
from footfall_streams.presences import NEVER_ENTERED, PresenceRows, dwell_s, roles
from footfall_streams.store_days import StoreDayRows

_UTC_MS = pa.timestamp("ms", tz="UTC")


_IDENTITY = np.dtype(
    [
        ("device_length", "<u2"),
        ("device", "<u8"),
        ("epoch_length", "<u2"),
        ("epoch", "<u4"),
        ("first_length", "<u2"),
        ("first", "<i8"),
    ]
)


def visit_ids(store_ids: Sequence[str], rows: PresenceRows) -> NDArray[np.uint64]:
    """64-bit BLAKE2b of each visit's store, device, key epoch and start; each field is preceded by its length."""
    fields = np.empty(len(rows), _IDENTITY)
    for name in ("device", "epoch", "first"):
        fields[name], fields[f"{name}_length"] = rows[name], _IDENTITY[name].itemsize
    packed, width = fields.tobytes(), _IDENTITY.itemsize
    names = [store_id.encode() for store_id in store_ids]
    stores = [len(name).to_bytes(2, "little") + name for name in names]
    digests = [
        blake2b(stores[store] + packed[at : at + width], digest_size=8).digest()
        for store, at in zip(rows["store"].tolist(), range(0, len(packed), width), strict=True)
    ]
    return np.frombuffer(b"".join(digests), "<u8")


def _names(store_ids: Sequence[str], stores: NDArray[np.integer]) -> pa.Array:
    return pa.array(store_ids, pa.string()).take(pa.array(stores))


def _instants(values: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(values, pa.int64(), mask=missing).cast(_UTC_MS)


def visit_rows(
    store_ids: Sequence[str],
    rows: PresenceRows,
    days: StoreDayRows,
    rule_labels: list[str],
    version: NDArray[np.uint64],
    deleted: NDArray[np.uint8],
) -> pa.RecordBatch:
    """VISITS rows of presences; `store_ids` by the number of the store, `days` are the presences' business days."""
    outside = rows["entered"] == NEVER_ENTERED
    dwell, role = dwell_s(rows), roles(rows, days)
    columns = {
        "visit_id": pa.array(visit_ids(store_ids, rows), pa.uint64()),
        "store_id": _names(store_ids, rows["store"]),
        "device_id": pa.array(rows["device"], pa.uint64()),
        "key_epoch": pa.array(rows["epoch"], pa.uint32()),
        "first_seen_at": _instants(rows["first"]),
        "last_seen_at": _instants(rows["last"]),
        "entered_at": _instants(np.where(outside, 0, rows["entered"]), outside),
        "left_at": _instants(np.where(outside, 0, rows["left"]), outside),
        "dwell_s": pa.array(np.where(outside, 0, dwell).astype(np.uint32), pa.uint32(), mask=outside),
        "sightings": pa.array(rows["sightings"], pa.uint32()),
        "rssi_max_dbm": pa.array(rows["rssi"], pa.int8()),
        "address_class": pa.array(rows["class"], pa.int8()),
        "role": pa.array(role, pa.int8()),
        "engaged": pa.array((role == Role.VISITOR) & (dwell >= days["engaged_s"])),
        "business_date": pa.array(rows["day"], pa.int32()).cast(pa.date32()),
        "rule_version": _names(rule_labels, days["rule"]),
        "version": pa.array(version, pa.uint64()),
        "deleted": pa.array(deleted, pa.uint8()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in VISITS.names], schema=VISITS)


def minute_rows(
    store_ids: Sequence[str], rows: MinuteRows, business_day: NDArray[np.int32], version: NDArray[np.uint64]
) -> pa.RecordBatch:
    """STORE_MINUTES rows of minutes; `store_ids` by the number of the store."""
    columns = {
        "store_id": _names(store_ids, stores_of(rows["key"])),
        "minute": _instants(starts_ms(rows["key"])),
        "business_date": pa.array(business_day, pa.int32()).cast(pa.date32()),
        "sensors_live": pa.array(np.bitwise_count(rows["live"]).astype(np.uint16), pa.uint16()),
        "is_final": pa.array(rows["final"], pa.uint8()),
        "version": pa.array(version, pa.uint64()),
    }
    for name in ("present", "entries", "exits", "passers_by"):
        columns[name] = pa.array(rows[name].astype(np.uint32), pa.uint32())
    return pa.RecordBatch.from_arrays([columns[name] for name in STORE_MINUTES.names], schema=STORE_MINUTES)
