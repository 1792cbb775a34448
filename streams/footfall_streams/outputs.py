"""Rows of `visits.v1` and `store_minutes.v1` from presences and minutes, as Arrow batches of one store."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
from footfall_events.schemas import STORE_MINUTES, VISITS, Role
from numpy.typing import NDArray

from footfall_streams.minutes import MinuteArray, starts_ms
from footfall_streams.presences import NEVER_ENTERED, PresenceArray, dwell_s, roles
from footfall_streams.store_days import StoreDayArray

_UTC_MS = pa.timestamp("ms", tz="UTC")


def visit_id(store_id: str, device: int, epoch: int, first_ms: int) -> int:
    """64-bit BLAKE2b of the visit's identity; each field is preceded by its length in two bytes."""
    digest = blake2b(digest_size=8)
    for part in (
        store_id.encode(),
        device.to_bytes(8, "little"),
        epoch.to_bytes(4, "little"),
        first_ms.to_bytes(8, "little"),
    ):
        digest.update(len(part).to_bytes(2, "little") + part)
    return int.from_bytes(digest.digest(), "little")


def _instants(values: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(values, pa.int64(), mask=missing).cast(_UTC_MS)


def visit_rows(
    store_id: str,
    rows: PresenceArray,
    days: StoreDayArray,
    rule_labels: list[str],
    version: NDArray[np.uint64],
    deleted: NDArray[np.uint8],
) -> pa.RecordBatch:
    """VISITS rows of one store's presences; `days` are their business days."""
    outside = rows["entered"] == NEVER_ENTERED
    dwell, role = dwell_s(rows), roles(rows, days)
    ids = [
        visit_id(store_id, device, epoch, first)
        for device, epoch, first in zip(
            rows["device"].tolist(), rows["epoch"].tolist(), rows["first"].tolist(), strict=True
        )
    ]
    columns = {
        "visit_id": pa.array(ids, pa.uint64()),
        "store_id": pa.array([store_id] * len(rows), pa.string()),
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
        "rule_version": pa.array([rule_labels[index] for index in days["rule"].tolist()], pa.string()),
        "version": pa.array(version, pa.uint64()),
        "deleted": pa.array(deleted, pa.uint8()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in VISITS.names], schema=VISITS)


def minute_rows(
    store_id: str, rows: MinuteArray, business_day: NDArray[np.int32], version: NDArray[np.uint64]
) -> pa.RecordBatch:
    """STORE_MINUTES rows of one store's minutes."""
    columns = {
        "store_id": pa.array([store_id] * len(rows), pa.string()),
        "minute": _instants(starts_ms(rows["key"])),
        "business_date": pa.array(business_day, pa.int32()).cast(pa.date32()),
        "sensors_live": pa.array(np.bitwise_count(rows["live"]).astype(np.uint16), pa.uint16()),
        "is_final": pa.array(rows["final"], pa.uint8()),
        "version": pa.array(version, pa.uint64()),
    }
    for name in ("present", "entries", "exits", "passers_by"):
        columns[name] = pa.array(rows[name].astype(np.uint32), pa.uint32())
    return pa.RecordBatch.from_arrays([columns[name] for name in STORE_MINUTES.names], schema=STORE_MINUTES)
