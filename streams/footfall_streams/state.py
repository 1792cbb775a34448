"""What `checkpoints.v1` holds of a partition: which keys, which bytes, which format version.

Keys (one Kafka message each, compacted):
* `offset`                  next offset, log epoch and topic id of the partition, JSON
* `clock/<store_id>`        the store's clocks and batches taken, JSON
* `presences/<number>`      a segment of the journal of presences, Arrow (journal.py)
* `minutes/<number>`        a segment of the journal of minutes, Arrow
* `quarantine/<offset>`     a message that an operator wants dead-lettered unread
A step writes the keys that it changed; a segment that was given up gets a tombstone.

Every value names its format. A release reads its own and the older ones, and writes its own, so that workers of two
releases may run side by side: a partition that a newer worker wrote is refused by an older one. Fields of rows go by
their names: a release that adds one finds zeros in what older ones wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

FORMAT = 2
OFFSET_KEY = b"offset"
ROWS_OF_FORMAT_1 = {
    "presences": np.dtype(
        [
            ("key", "<u8"),
            ("store", "<i4"),
            ("device", "<u8"),
            ("epoch", "<u4"),
            ("day", "<i4"),
            ("first", "<i8"),
            ("last", "<i8"),
            ("entered", "<i8"),
            ("left", "<i8"),
            ("sightings", "<u4"),
            ("rssi", "i1"),
            ("class", "i1"),
            ("touched", "<i8"),
            ("closes_at", "<i8"),
            ("closed", "u1"),
        ]
    ),
    "minutes": np.dtype(
        [
            ("key", "<i8"),
            ("present", "<i4"),
            ("entries", "<i4"),
            ("exits", "<i4"),
            ("passers_by", "<i4"),
            ("pending", "<i4"),
            ("live", "<u8"),
            ("final", "u1"),
            ("touched", "u1"),
            ("shown", "<u8"),
        ]
    ),
}
"""Entries `presences/<store_id>/<hour>` and `minutes/<store_id>/<hour>`: a byte of format, then these rows."""

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


def segment_schema(fields: Sequence[pa.Field]) -> pa.Schema:
    """The columns of a journal's segment, under the format's number."""
    return pa.schema(fields, {"format": str(FORMAT)})


def read_segment(value: bytes) -> pa.RecordBatch:
    """The rows of a journal's segment; raises ConfigError if a newer release wrote them."""
    with pa.ipc.open_stream(value) as stream:
        _check_format(int(stream.schema.metadata[b"format"]))
        return stream.read_next_batch()


def hours_of_format_1(state: State, kind: str) -> Iterator[tuple[bytes, str, NDArray[np.void]]]:
    """Key, store and rows of every entry of format 1, which held the rows of a store and an hour whole."""
    for key, value in state.items():
        named, _, place = key.decode().partition("/")
        if value is not None and named == kind and "/" in place:
            _check_format(value[0])
            yield key, place.split("/")[0], np.frombuffer(value, ROWS_OF_FORMAT_1[kind], offset=1)


def _check_format(found: int) -> None:
    if found > FORMAT:
        raise ConfigError(
            [f"checkpoints.v1 holds state of format {found}, this release reads up to {FORMAT}: upgrade this worker"]
        )
