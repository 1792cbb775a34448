"""How a partition's state is written to `checkpoints.v1`: which keys, which bytes, which format version.

Keys (one Kafka message each, compacted):
* `offset`                          next offset, log epoch and topic id of the partition, JSON
* `clock/<store_id>`                the store's clocks and batches taken, JSON
* `presences/<store_id>/<hour>`     presences first seen in that hour since 1970, fixed-width rows
* `minutes/<store_id>/<hour>`       minutes of that hour, fixed-width rows
* `quarantine/<offset>`             a message that an operator wants dead-lettered unread
A step writes the keys that it changed; one that became empty gets a tombstone.

Every value names its format. A release reads its own and the older ones that `OLDER_ROWS` lists, and writes its own, so
that workers of two releases may run side by side: a partition that a newer worker wrote is refused by an older one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

from footfall_streams.columns import Columns

FORMAT = 1
HOUR_MS = 3_600_000
OFFSET_KEY = b"offset"
_STORE_SHIFT, _HOUR_MASK = 32, 0xFFFFFFFF

OLDER_ROWS: Mapping[int, Mapping[str, np.dtype[np.void]]] = {}
"""For each older format that can still be found: its rows by kind, `presences` and `minutes`."""

State = dict[bytes, bytes | None]
"""Changed or restored entries by key; None is a tombstone."""


@dataclass(frozen=True)
class Progress:
    """Where a partition stands: the next message to process has an offset of at least `next_offset`.

    `log_epoch` counts the logs (topic ids) this state has followed; it leads every `version`.
    """

    next_offset: int
    log_epoch: int
    topic_id: str

    def to_bytes(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Progress:
        return cls(**read_json(value))


def read_json(value: bytes) -> dict[str, Any]:
    """A JSON entry without its format; raises ConfigError if a newer release wrote it."""
    entry: dict[str, Any] = json.loads(value)
    _check_format(entry.pop("format"))
    return entry


def write_json(entry: Mapping[str, object]) -> bytes:
    return json.dumps({"format": FORMAT, **entry}, separators=(",", ":")).encode()


def write_rows(rows: NDArray[np.void]) -> bytes:
    """Fixed-width rows behind one byte of format."""
    return bytes([FORMAT]) + rows.tobytes()


def read_rows(value: bytes, kind: str, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Rows that `write_rows` wrote; fields that an older release did not know are zero.

    Raises ConfigError if a newer release wrote them.
    """
    _check_format(value[0])
    if value[0] == FORMAT:
        return np.frombuffer(value, dtype, offset=1).copy()
    old = np.frombuffer(value, OLDER_ROWS[value[0]][kind], offset=1)
    rows = np.zeros(len(old), dtype)
    for name in set(old.dtype.names or ()) & set(dtype.names or ()):
        rows[name] = old[name]
    return rows


def hours_of(store: NDArray[np.int64], instant_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each store and hour since 1970 as one number."""
    return (store.astype(np.int64) << _STORE_SHIFT) | (instant_ms // HOUR_MS)


def changed_hours(
    store: NDArray[np.int64], instant_ms: NDArray[np.int64], rows: Columns, changed: NDArray[np.int64]
) -> Iterator[tuple[int, int, bytes | None]]:
    """Store, hour and bytes of every changed hour, whole; a tombstone for one that has no rows left.

    Each row belongs to the hour of its store and instant; `changed` is ascending, without repetition (`hours_of`).
    """
    hours = changed & _HOUR_MASK
    begin_ms, end_ms = int(hours.min(initial=_HOUR_MASK)) * HOUR_MS, (int(hours.max(initial=0)) + 1) * HOUR_MS
    near = np.flatnonzero((instant_ms >= begin_ms) & (instant_ms < end_ms))
    codes = hours_of(store[near], instant_ms[near])
    # Numbers below 65,536 are sorted in two passes.
    places = np.searchsorted(changed, codes).astype(np.uint16 if len(changed) < 65_536 else np.int64)
    among = np.append(changed, -1)[places] == codes
    near, places = near[among], places[among]
    order = np.argsort(places, kind="stable")
    records = rows[near[order]].records()
    counts = np.bincount(places, minlength=len(changed))
    ends = np.cumsum(counts)
    for code, begin, end in zip(changed.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True):
        yield code >> _STORE_SHIFT, code & _HOUR_MASK, write_rows(records[begin:end]) if end > begin else None


def _check_format(found: object) -> None:
    if found != FORMAT and found not in OLDER_ROWS:
        raise ConfigError(
            [f"checkpoints.v1 holds state of format {found}, this release reads up to {FORMAT}: upgrade this worker"]
        )
