"""Where the values of a record batch lie in its bytes: as Arrow finds them in one, they lie in others alike, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Span = tuple[int, int]
"""Begin and end of some bytes of a batch's body."""

_OFFSET = np.dtype("<i4")
_MOST_CHARACTERS = 2**31 - 1


class ColumnPlace(NamedTuple):
    """Where one column lies in the body."""

    values: Span
    """Numbers, the bits of truth values, or the offsets of strings."""
    characters: Span = (0, 0)
    """Of strings."""
    validity: Span = (0, 0)
    """A bit a row, 0 for a null; empty if there are none."""
    null_count: int = 0


def places_of(batch: pa.RecordBatch, value: pa.Buffer, body: int, size: int) -> dict[str, ColumnPlace] | None:
    """Where each column of a sound batch lies, which was read from a value with its body there.

    None for a batch with a column of anything but strings, truth values and numbers of whole bytes.
    """
    places: dict[str, ColumnPlace] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        lengths = _lengths(column)
        if column.offset or not lengths:
            return None
        spans: list[Span] = []
        for buffer, length in zip(column.buffers(), lengths, strict=True):
            at = buffer.address - value.address - body if length else 0
            if not 0 <= at <= at + length <= size:
                return None
            spans.append((at, at + length))
        validity, values, characters = (*spans, (0, 0))[:3]
        places[name] = ColumnPlace(values, characters, validity, column.null_count)
    return places


def _lengths(column: pa.Array) -> list[int]:
    """Bytes of each buffer that hold something, the validity's first; none at all for a column of another kind."""
    rows = len(column)
    validity = _bytes_of_bits(rows) if column.null_count else 0
    if pa.types.is_string(column.type):
        characters = column.buffers()[2]
        return [validity, _OFFSET.itemsize * (rows + 1) if rows else 0, characters.size if characters else 0]
    if pa.types.is_boolean(column.type):
        return [validity, _bytes_of_bits(rows)]
    if pa.types.is_primitive(column.type) and column.type.bit_width % 8 == 0:
        return [validity, column.type.bit_width // 8 * rows]
    return []


def _bytes_of_bits(count: int) -> int:
    return -(-count // 8)


def rows_at(
    schema: pa.Schema, bodies: Sequence[bytes | memoryview], rows: int, places: Mapping[str, ColumnPlace]
) -> pa.Table | None:
    """The rows of bodies of one length, of so many rows at these places each, one behind the other; to be validated.

    None if a string's offsets are such as Arrow does not write, or a column has not the nulls that it should have.
    """
    of_each = np.frombuffer(b"".join(bodies), np.uint8).reshape(len(bodies), -1)
    columns = []
    for field in schema:
        column = _joined(of_each, field.type, rows, places[field.name])
        if column is None:
            return None
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _joined(of_each: NDArray[np.uint8], kind: pa.DataType, rows: int, place: ColumnPlace) -> pa.Array | None:
    """One column of all bodies."""
    values, characters, validity = (of_each[:, begin:end] for begin, end in place[:3])
    if pa.types.is_string(kind):
        buffers = _joined_strings(values, characters)
        if not buffers:
            return None
    elif pa.types.is_boolean(kind):
        buffers = [_packed(_bits(values, rows))]
    else:
        buffers = [values.tobytes()]
    valid = None
    if place.null_count:
        bits = _bits(validity, rows)
        if (rows - bits.sum(axis=1) != place.null_count).any():
            return None
        valid = pa.py_buffer(_packed(bits))
    return pa.Array.from_buffers(kind, len(of_each) * rows, [valid, *map(pa.py_buffer, buffers)])


def _bits(of_each: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
    return np.unpackbits(of_each, axis=1, count=rows, bitorder="little")


def _packed(bits: NDArray[np.uint8]) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _joined_strings(offsets: NDArray[np.uint8], characters: NDArray[np.uint8]) -> list[bytes]:
    """Offsets and characters of all, of a row of bytes for the offsets and one for the characters of each.

    Behind the last character of each there may be others. None at all of offsets that Arrow would not write.
    """
    of_each = np.frombuffer(offsets.tobytes(), _OFFSET).reshape(len(offsets), -1)
    if not of_each.size or of_each[:, 0].any():
        return []
    used = characters[np.arange(characters.shape[1]) < of_each[:, -1:]].tobytes()
    if len(used) > _MOST_CHARACTERS:
        return []
    return [np.append(0, np.cumsum(np.diff(of_each))).astype(_OFFSET).tobytes(), used]
