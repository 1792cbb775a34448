"""A batch of sightings with its header, as `sightings.v1` carries it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from footfall_events.errors import PoisonEvent
from footfall_events.rows import encode_rows, open_rows, refuse_nulls
from footfall_events.schemas import SIGHTINGS

MAX_SIGHTINGS_BYTES = 1024 * 1024
"""Longest value that is read: ten times what a collector sends at most. It bounds what one message can cause."""

SEQ_BELOW, CLOCK_BELOW = 2**62, 2**42
_MAX_ID_BYTES = 200


@dataclass(frozen=True)
class BatchHeader:
    """What a batch says of itself, in the schema metadata of its Arrow stream.

    `(sensor_id, boot_id, batch_seq)` makes a batch recognisable. `sensor_clock_ms` is a promise in epoch
    milliseconds of the radio's clock: no later row of this sensor starts before it. `final` closes
    everything of the store: the end of a replay.
    """

    store_id: str
    sensor_id: str
    boot_id: str
    batch_seq: int
    sensor_clock_ms: int
    key_epoch: int
    collector_version: str
    final: bool = False

    def to_metadata(self) -> dict[str, str]:
        """Header as schema metadata; every value a string, `final` as 0 or 1."""
        return {
            "store_id": self.store_id,
            "sensor_id": self.sensor_id,
            "boot_id": self.boot_id,
            "batch_seq": str(self.batch_seq),
            "sensor_clock_ms": str(self.sensor_clock_ms),
            "final": "1" if self.final else "0",
            "key_epoch": str(self.key_epoch),
            "collector_version": self.collector_version,
        }

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes] | None) -> BatchHeader:
        """Read a header; raises PoisonEvent `bad_header` naming the first field that is missing or wrong."""
        fields = metadata or {}
        final = _text(fields, "final")
        if final not in ("0", "1"):
            raise PoisonEvent("bad_header", f"final is {final!r}")
        return cls(
            store_id=_text(fields, "store_id"),
            sensor_id=_text(fields, "sensor_id"),
            boot_id=_text(fields, "boot_id"),
            batch_seq=_number(fields, "batch_seq", SEQ_BELOW),
            sensor_clock_ms=_number(fields, "sensor_clock_ms", CLOCK_BELOW),
            key_epoch=_number(fields, "key_epoch", 2**32),
            collector_version=_text(fields, "collector_version"),
            final=final == "1",
        )


def _text(fields: dict[bytes, bytes], name: str) -> str:
    raw = fields.get(name.encode())
    if not raw or len(raw) > _MAX_ID_BYTES:
        raise PoisonEvent("bad_header", f"{name} is missing or too long")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise PoisonEvent("bad_header", f"{name} is not UTF-8") from None


def _number(fields: dict[bytes, bytes], name: str, below: int) -> int:
    text = _text(fields, name)
    if not (text.isascii() and text.isdigit()) or int(text) >= below:
        raise PoisonEvent("bad_header", f"{name} is {text[:40]!r}")
    return int(text)


def encode_sightings(header: BatchHeader, batch: pa.RecordBatch) -> bytes:
    """Bytes of one message; `batch` has the columns of SIGHTINGS (none heard = no rows = a heartbeat)."""
    return encode_rows(batch.replace_schema_metadata(header.to_metadata()))


def decode_sightings(value: bytes) -> tuple[BatchHeader, pa.RecordBatch]:
    """Header and rows of one message; raises PoisonEvent for anything that is not a sightings batch."""
    header, batch = open_sightings(value)
    refuse_nulls(batch)
    return header, batch


def open_sightings(value: bytes) -> tuple[BatchHeader, pa.RecordBatch]:
    """The same for a caller that looks for nulls himself, in many batches at once."""
    if len(value) > MAX_SIGHTINGS_BYTES:
        raise PoisonEvent("oversized", f"{len(value)} bytes")
    batch = open_rows(value, SIGHTINGS)
    return BatchHeader.from_metadata(batch.schema.metadata), batch
