"""Where the values of a record batch lie in its bytes: as Arrow finds them in one, they lie in others alike, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Span = tuple[int, int]
"""Begin and end of some bytes of a batch's body."""

_OFFSET = np.dtype("<i4")
_MOST_CHARACTERS = 2**31 - 1


def spans_of(batch: pa.RecordBatch, value: pa.Buffer, body: int, size: int) -> dict[str, list[Span]] | None:
    """Of each column of a sound batch, read from a value with its body there: values, or offsets and characters.

    None for a batch with nulls, or with a column of anything but strings or numbers of whole bytes.
    """
    spans: dict[str, list[Span]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        nulls, *buffers = column.buffers()
        lengths = _lengths(column, buffers)
        if nulls is not None or column.offset or not lengths:
            return None
        spans[name] = []
        for buffer, length in zip(buffers, lengths, strict=True):
            at = buffer.address - value.address - body if length else 0
            if not 0 <= at <= at + length <= size:
                return None
            spans[name].append((at, at + length))
    return spans


def _lengths(column: pa.Array, buffers: Sequence[pa.Buffer | None]) -> list[int]:
    """Bytes of each buffer that hold something; none for a column of another kind."""
    if pa.types.is_string(column.type):
        offsets = _OFFSET.itemsize * (len(column) + 1) if len(column) else 0
        return [offsets, buffers[1].size if buffers[1] else 0]
    if pa.types.is_primitive(column.type) and column.type.bit_width % 8 == 0:
        return [column.type.bit_width // 8 * len(column)]
    return []


def rows_at(
    schema: pa.Schema, bodies: Sequence[bytes], rows: int, spans: Mapping[str, Sequence[Span]]
) -> pa.Table | None:
    """The rows of bodies of one length, of so many rows at these spans each, one behind the other; to be validated.

    None if a string's offsets are such as Arrow does not write.
    """
    of_each = np.frombuffer(b"".join(bodies), np.uint8).reshape(len(bodies), -1)
    total, columns = len(bodies) * rows, []
    for field in schema:
        pieces = [of_each[:, at:end] for at, end in spans[field.name]]
        buffers = _joined_strings(*pieces) if pa.types.is_string(field.type) else [pieces[0].tobytes()]
        if not buffers:
            return None
        columns.append(pa.Array.from_buffers(field.type, total, [None, *map(pa.py_buffer, buffers)]))
    return pa.Table.from_arrays(columns, schema=schema)


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
