"""Batches of sightings read by place: what Arrow says of a usual one, at a quarter of its cost.

Most messages differ from one read before in two numbers of their header and in the values of their columns, and what
Arrow found in that one it would find here at the same places. So places are looked up by all other bytes. Whatever is
new goes to Arrow, which alone decides what a batch is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from footfall_events.batch_places import places_of
from footfall_events.rows import END_OF_STREAM, message_end
from footfall_events.schemas import SIGHTINGS
from footfall_events.sighting_batches import (
    CLOCK_BELOW,
    MAX_SIGHTINGS_BYTES,
    SEQ_BELOW,
    BatchHeader,
    open_sightings,
)

INAUDIBLE = np.iinfo(np.int8).min
"""Signal of a sighting of which no frame told one."""
COLUMNS: dict[str, tuple[np.dtype[Any], int]] = {
    "device_id": (np.dtype("<u8"), 0),
    "observed_at": (np.dtype("<i8"), 0),
    "span_ms": (np.dtype("<u2"), 0),
    "rssi_dbm": (np.dtype("i1"), INAUDIBLE),
    "address_class": (np.dtype("i1"), 0),
}
"""What is read of each sighting, its type, and what stands for a null."""

_NEVER_NULL = tuple(column.name for column in SIGHTINGS if not column.nullable)
_MOST_HEADERS, _MOST_LAYOUTS, _MOST_SPOTS, _MOST_TEXTS = 10_000, 4_096, 32, 4


@dataclass(frozen=True, slots=True)
class SightingRows:
    """The rows of one batch: the bytes of each of COLUMNS, and whether there was a null where none may be."""

    num_rows: int
    columns: Sequence[bytes]
    holds_nulls: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """Bytes of a batch's body, and where in it each of COLUMNS begins and ends."""

    num_rows: int
    size: int
    spans: tuple[tuple[int, int], ...]

    def rows(self, value: bytes, body: int) -> SightingRows:
        """The rows of a value whose body begins there."""
        return SightingRows(self.num_rows, [value[body + at : body + end] for at, end in self.spans])


@dataclass(frozen=True, slots=True)
class _Spots:
    """Where the digits of `batch_seq` and `sensor_clock_ms` stand in a written schema, and the headers that have them
    there, by the bytes around them."""

    seq: slice
    clock: slice
    headers: dict[bytes, BatchHeader] = field(default_factory=dict)

    def around(self, written: bytes) -> bytes:
        one, other = (self.seq, self.clock) if self.seq.start < self.clock.start else (self.clock, self.seq)
        return written[: one.start] + written[one.stop : other.start] + written[other.stop :]


class SightingsReader:
    """Reads what `open_sightings` reads, and nothing else; remembers what is usual."""

    def __init__(self) -> None:
        self._spots: dict[int, list[_Spots]] = {}
        self._layouts: dict[bytes, _Layout] = {}
        self._headers = 0

    def open(self, value: bytes) -> tuple[BatchHeader, SightingRows]:
        """Header and rows of one message; raises PoisonEvent for anything but a batch. Nulls are for the caller."""
        try:
            found = self._usual(value)
        except struct.error:
            found = None
        if found is not None:
            return found
        header, batch = open_sightings(value)
        begin = message_end(value, 0)
        if begin == len(value):  # Arrow's older framing
            return header, _rows_of(batch)
        self._learn_header(value[:begin], header, batch.schema)
        body = message_end(value, begin)
        layout = self._layouts.get(value[begin:body]) or self._learn_layout(value, begin, body, batch)
        return header, layout.rows(value, body) if layout else _rows_of(batch)

    def _usual(self, value: bytes) -> tuple[BatchHeader, SightingRows] | None:
        begin = message_end(value, 0)
        header = self._header(value[:begin])
        if header is None or len(value) > MAX_SIGHTINGS_BYTES:
            return None
        body = message_end(value, begin)
        layout = self._layouts.get(value[begin:body])
        if layout is None or value[body + layout.size :] != END_OF_STREAM:
            return None
        return header, layout.rows(value, body)

    def _header(self, written: bytes) -> BatchHeader | None:
        known = self._spots.get(len(written), [])
        for place, spots in enumerate(known):
            usual = spots.headers.get(spots.around(written))
            if usual is None:
                continue
            if place:
                known.insert(0, known.pop(place))
            seq, clock = written[spots.seq], written[spots.clock]
            if not (seq.isdigit() and clock.isdigit() and int(seq) < SEQ_BELOW and int(clock) < CLOCK_BELOW):
                return None
            return BatchHeader(
                usual.store_id,
                usual.sensor_id,
                usual.boot_id,
                int(seq),
                int(clock),
                usual.key_epoch,
                usual.collector_version,
                usual.final,
            )
        return None

    # -- learning --------------------------------------------------------------------------------------

    def _learn_layout(self, value: bytes, begin: int, body: int, batch: pa.RecordBatch) -> _Layout | None:
        layout = _layout_of(batch, pa.py_buffer(value), body)
        if layout is not None:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[value[begin:body]] = layout
        return layout

    def _learn_header(self, written: bytes, header: BatchHeader, schema: pa.Schema) -> None:
        pairs = product(_texts_of(written, header.batch_seq), _texts_of(written, header.sensor_clock_ms))
        found = next((pair for pair in pairs if _are_spots(written, schema, *pair)), None)
        if found is None:
            return
        if self._headers >= _MOST_HEADERS:
            self._spots.clear()
            self._headers = 0
        known = self._spots.setdefault(len(written), [])
        spots = next((one for one in known if (one.seq, one.clock) == found), None)
        if spots is None:
            if len(known) >= _MOST_SPOTS:
                known.pop()
            spots = _Spots(*found)
            known.insert(0, spots)
        spots.headers[spots.around(written)] = header
        self._headers += 1


def _texts_of(written: bytes, number: int) -> list[slice]:
    """Where the texts stand that are this number, a few of them at most."""
    text = str(number).encode()
    # A text of a flatbuffer: its length, itself, and a zero.
    whole, at = struct.pack("<I", len(text)) + text + b"\0", -1
    spots: list[slice] = []
    while len(spots) < _MOST_TEXTS and (at := written.find(whole, at + 1)) >= 0:
        spots.append(slice(at + 4, at + 4 + len(text)))
    return spots


def _are_spots(written: bytes, schema: pa.Schema, seq: slice, clock: slice) -> bool:
    """Whether other digits at these two places change the two numbers of a written schema, and nothing else."""
    other = bytearray(written)
    for spot, digits in ((seq, b"1234567890"), (clock, b"2345678901")):  # not alike, or they could be each other's
        other[spot] = other[spot].translate(bytes.maketrans(b"0123456789", digits))
    found = pa.ipc.read_schema(pa.py_buffer(bytes(other)))
    wanted = {**schema.metadata, b"batch_seq": bytes(other[seq]), b"sensor_clock_ms": bytes(other[clock])}
    return bool(found.metadata == wanted and found.equals(schema, check_metadata=False))


def _layout_of(batch: pa.RecordBatch, value: pa.Buffer, body: int) -> _Layout | None:
    """Where the values of a batch without nulls lie in its body; None for one that is not as simple as that."""
    size = value.size - len(END_OF_STREAM) - body
    places = places_of(batch, value, body, size)
    if places is None or any(place.null_count for place in places.values()):
        return None
    return _Layout(batch.num_rows, size, tuple(places[name].values for name in COLUMNS))


# -- rows --------------------------------------------------------------------------------------------------


def _rows_of(batch: pa.RecordBatch) -> SightingRows:
    columns = [_column(batch.column(name), kind, null).tobytes() for name, (kind, null) in COLUMNS.items()]
    return SightingRows(batch.num_rows, columns, any(batch.column(name).null_count for name in _NEVER_NULL))


def _column(column: pa.Array, kind: np.dtype[Any], null: int) -> NDArray[Any]:
    """A column of numbers; one with nulls would come as floats, which hold no device id."""
    numbers = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    found: NDArray[Any] = numbers.fill_null(null).to_numpy(zero_copy_only=False).astype(kind, copy=False)
    return found


def columns_of(batches: Iterable[SightingRows]) -> dict[str, NDArray[Any]]:
    """The columns of all batches, one behind the other."""
    parts = zip(*(batch.columns for batch in batches), strict=True)
    joined = [b"".join(part) for part in parts] or [b""] * len(COLUMNS)
    return {
        name: np.frombuffer(values, kind) for (name, (kind, _)), values in zip(COLUMNS.items(), joined, strict=True)
    }
