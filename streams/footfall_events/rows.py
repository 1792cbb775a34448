"""One Arrow IPC stream with one record batch: how every value of every topic is written and read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from footfall_events.batch_places import ColumnPlace, places_of, rows_at
from footfall_events.errors import PoisonEvent

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Longest value that is read. None unpacks to more: a body that Arrow would have to decompress is refused unread."""

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What ends a value, behind its batch."""

# Places in Arrow's flatbuffer tables (format/Message.fbs): of a Message, of a RecordBatch, and what stands there.
_VERSION, _HEADER_TYPE, _HEADER, _BODY_LENGTH = 0, 1, 2, 3
_LENGTH, _COMPRESSION = 0, 3
_V5, _RECORD_BATCH = 4, 3
_CONTINUES = 0xFFFFFFFF
_KNOWN_SCHEMAS, _KNOWN_HEADS = 100, 4_096
_LONG_BODY = 8_192
_ALIKE = 16  # from so many on, some calls a column for all of them cost less than some for each

_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, struct.error)


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """The batch as one IPC stream with its schema, uncompressed: Kafka's zstd does that for all of it."""
    return encode_each([batch])[0]


def encode_each(batches: Sequence[pa.RecordBatch]) -> list[bytes]:
    """The same for some batches of one schema, which takes longer to write than most batches."""
    schema = batches[0].schema.serialize()
    return [b"".join((schema, batch.serialize(), END_OF_STREAM)) for batch in batches]


def decode_rows(value: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The one batch in `value`, its columns exactly those of `schema` (schema metadata is kept).

    The value must be whole: schema, batch, end of stream, and nothing behind it.
    Raises PoisonEvent: `not_arrow`, `wrong_schema`, `not_one_batch`, `compressed`, `invalid_batch`, `oversized`.
    """
    batch = open_rows(value, schema)
    refuse_nulls(batch)
    return batch


def open_rows(value: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The same for a caller that looks for nulls himself, in many batches at once."""
    if not value:
        raise PoisonEvent("not_arrow", "empty value")
    if len(value) > MAX_BATCH_BYTES:
        raise PoisonEvent("oversized", f"{len(value)} bytes")
    source = pa.BufferReader(value)
    try:
        found = pa.ipc.read_schema(source)
        if not found.equals(schema, check_metadata=False):
            raise PoisonEvent("wrong_schema", _difference(found, schema))
    except _UNREADABLE as error:
        raise PoisonEvent("not_arrow", str(error)[:200]) from error
    try:
        batch = pa.ipc.read_record_batch(_batch_message(source), found)
        _refuse_rest(value[source.tell() :])
        batch.validate(full=True)
    except _UNREADABLE as error:
        raise PoisonEvent("invalid_batch", str(error)[:200]) from error
    return batch


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """What stands before the body of a batch, and says where its columns are; values that are alike share one."""

    head: bytes
    num_rows: int
    body_bytes: int


class RowsPart(NamedTuple):
    """A value whose rows are not read yet: what many have in common, several kB, is kept once."""

    schema: bytes
    frame: Frame
    body: bytes | memoryview
    unusual: bytes | None = None
    """The value as it came, if it is written in another way."""

    @property
    def num_rows(self) -> int:
        """Rows that the value claims."""
        return self.frame.num_rows

    @property
    def value(self) -> bytes:
        """The value as it came."""
        if self.unusual is not None:
            return self.unusual
        return b"".join((self.schema, self.frame.head, self.body, END_OF_STREAM))


class RowsReader:
    """Reads the rows of many values of one schema at once: one by one, few rows cost several times as much.

    What `open` lets pass and `read` reads is what `open_rows` would take of each, and nothing else. Plain batches are
    read by place: the head of each says where its columns are, and Arrow has read one with the same.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._written = schema.serialize().to_pybytes()
        self._known, self._latest = {self._written: self._written}, self._written
        self._frames: dict[bytes, Frame] = {}
        self._by_length: dict[int, Frame] = {}
        self._columns: dict[Frame, dict[str, ColumnPlace] | None] = {}

    def open(self, value: bytes) -> RowsPart:
        """The rows of one value, not read yet; raises PoisonEvent for all that can be told without them."""
        part = self._usual(value) if len(value) <= MAX_BATCH_BYTES else None
        if part is None:
            again = self._usual(encode_rows(open_rows(value, self._schema)))
            assert again is not None
            part = again._replace(unusual=value)
        return part

    def read(self, parts: Sequence[RowsPart]) -> pa.Table:
        """All rows; raises PoisonEvent `invalid_batch` if any part is not what it seemed."""
        try:
            table = self._by_place(parts)
            if table is None:
                table = self._by_arrow(parts)
            table.validate(full=True)
        except _UNREADABLE as error:
            raise PoisonEvent("invalid_batch", str(error)[:200]) from error
        return table

    def _by_arrow(self, parts: Sequence[RowsPart]) -> pa.Table:
        batches = chain.from_iterable((part.frame.head, part.body) for part in parts)
        with pa.ipc.open_stream(b"".join((self._written, *batches, END_OF_STREAM))) as stream:
            return stream.read_all()

    def _by_place(self, parts: Sequence[RowsPart]) -> pa.Table | None:
        """The rows of plain batches; None if there are others among them, or few that are alike."""
        alike: dict[Frame, list[int]] = {}
        for place, part in enumerate(parts):
            alike.setdefault(part.frame, []).append(place)
        if len(parts) < _ALIKE * max(1, len(alike)):
            return None
        tables, order = [], []
        for frame, places in alike.items():
            columns = self._columns[frame] if frame in self._columns else self._learn(parts[places[0]])
            if columns is None:
                return None
            table = rows_at(self._schema, [parts[place].body for place in places], frame.num_rows, columns)
            if table is None:
                return None
            tables.append(table)
            order.append(np.repeat(places, frame.num_rows))
        if len(tables) == 1:
            return tables[0]
        places_of_rows = np.argsort(np.concatenate(order), kind="stable")
        # Made by hand: pa.array of a numpy array imports pandas, wherever that is installed.
        by_part = pa.Array.from_buffers(pa.int64(), len(places_of_rows), [None, pa.py_buffer(places_of_rows)])
        return pa.concat_tables(tables).take(by_part)

    def _learn(self, part: RowsPart) -> dict[str, ColumnPlace] | None:
        """Where the columns of a part lie, and of all that are alike; raises as Arrow does."""
        value = pa.py_buffer(part.frame.head + part.body)
        batch = pa.ipc.read_record_batch(value, self._schema)
        batch.validate(full=True)
        if len(self._columns) >= _KNOWN_HEADS:
            self._columns.clear()
        found = places_of(batch, value, len(part.frame.head), len(part.body))
        self._columns[part.frame] = found
        return found

    def _usual(self, value: bytes) -> RowsPart | None:
        """A schema met before, an uncompressed batch of the format's current version, and the end of the stream."""
        try:
            begin = len(self._latest)
            if not value.startswith(self._latest):
                begin = message_end(value, 0)
                if not self._knows(value[:begin]):
                    return None
            frame = self._frame(value, begin)
        except (struct.error, IndexError):
            return None
        if frame is None:
            return None
        body = begin + len(frame.head)
        end = body + frame.body_bytes
        if value[end:] != END_OF_STREAM:
            return None
        # A copy of a few bytes lets go of the many before them.
        whole = memoryview(value) if frame.body_bytes > _LONG_BODY else value
        return RowsPart(self._latest, frame, whole[body:end])

    def _frame(self, value: bytes, begin: int) -> Frame | None:
        """The frame of the batch that begins there, if it is a plain one; many are remembered.

        Values of one length mostly have one head, and to compare it takes less than to look it up.
        """
        frame = self._by_length.get(len(value))
        if frame is not None and value.startswith(frame.head, begin):
            return frame
        head = value[begin : message_end(value, begin)]
        frame = self._frames.get(head)
        if frame is None:
            found = _plain_batch(head)
            if found is None:
                return None
            if len(self._frames) >= _KNOWN_HEADS:
                self._frames.clear()
                self._by_length.clear()
            frame = self._frames[head] = Frame(head, *found)
        self._by_length[len(value)] = frame
        return frame

    def _knows(self, written: bytes) -> bool:
        """Whether these bytes are the schema, whatever its metadata; a few such are remembered."""
        if written in self._known:
            self._latest = self._known[written]
            return True
        try:
            found = pa.ipc.read_schema(pa.BufferReader(written))
        except _UNREADABLE:
            return False
        if not found.equals(self._schema, check_metadata=False):
            return False
        if len(self._known) >= _KNOWN_SCHEMAS:
            self._known.clear()
        self._latest = self._known[written] = written
        return True


def message_end(value: bytes, begin: int) -> int:
    """Where the metadata of the message ends that begins there; nowhere, in bytes of Arrow's older framing."""
    marker, size = struct.unpack_from("<II", value, begin)
    return begin + 8 + int(size) if marker == _CONTINUES else len(value)


def _plain_batch(head: bytes) -> tuple[int, int] | None:
    """Rows and bytes of the body of an uncompressed batch of the format's current version; None for anything else."""
    metadata = head[8:]
    table = struct.unpack_from("<I", metadata)[0]
    batch = _child_table(metadata, table, _HEADER)
    plain = (
        _field(metadata, table, _VERSION, "<h") == _V5
        and _field(metadata, table, _HEADER_TYPE, "<B") == _RECORD_BATCH
        and not _is_compressed(metadata)
    )
    num_rows, body_bytes = _field(metadata, batch, _LENGTH, "<q"), _field(metadata, table, _BODY_LENGTH, "<q")
    return (num_rows, body_bytes) if plain and body_bytes >= 0 else None


def _field(flatbuffer: bytes, table: int, field: int, kind: str) -> int:
    """A number of the table at `table`; 0 if the field is absent."""
    place = _field_place(flatbuffer, table, field)
    return int(struct.unpack_from(kind, flatbuffer, place)[0]) if place else 0


def _batch_message(source: pa.NativeFile) -> pa.ipc.Message:
    """The message after the schema: an uncompressed record batch of the format's current version."""
    try:
        message = pa.ipc.read_message(source)
    except EOFError:
        raise PoisonEvent("not_one_batch", "no record batch") from None
    if message.type != "record batch":
        raise PoisonEvent("not_one_batch", f"{message.type} instead of a record batch")
    if message.metadata_version != pa.ipc.MetadataVersion.V5:
        # Arrow 0.17 noted compression elsewhere, and readers still look for it there.
        raise PoisonEvent("compressed", f"format {message.metadata_version.name} does not tell")
    if _is_compressed(message.metadata.to_pybytes()):
        raise PoisonEvent("compressed", "Kafka compresses, not Arrow")
    return message


def _is_compressed(metadata: bytes) -> bool:
    header = _child_table(metadata, struct.unpack_from("<I", metadata)[0], _HEADER)
    return bool(header and _child_table(metadata, header, _COMPRESSION))


def _child_table(flatbuffer: bytes, table: int, field: int) -> int:
    """Position of the table that a field of the table at `table` refers to; 0 if the field is absent."""
    place = _field_place(flatbuffer, table, field)
    return place + int(struct.unpack_from("<I", flatbuffer, place)[0]) if place else 0


def _field_place(flatbuffer: bytes, table: int, field: int) -> int:
    vtable = table - struct.unpack_from("<i", flatbuffer, table)[0]
    entry = 4 + 2 * field
    if entry >= struct.unpack_from("<H", flatbuffer, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", flatbuffer, vtable + entry)[0]
    return int(table + offset) if offset else 0


def _refuse_rest(rest: bytes) -> None:
    """Arrow takes a stream that is cut off after its batch for whole, and ignores what follows an end."""
    if rest == END_OF_STREAM:
        return
    if END_OF_STREAM.startswith(rest):
        raise PoisonEvent("invalid_batch", "cut off before the end of the stream")
    raise PoisonEvent("not_one_batch", f"{len(rest)} bytes behind the batch are not the end of the stream")


def refuse_nulls(batch: pa.RecordBatch | pa.Table) -> None:
    """Raise PoisonEvent `invalid_batch` for a null where the schema has none.

    Arrow does not check that on reading; numpy would turn a null into a number.
    """
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise PoisonEvent("invalid_batch", f"null in {field.name}")


def _difference(got: pa.Schema, wanted: pa.Schema) -> str:
    for index, field in enumerate(wanted):
        if index >= len(got.names) or not got.field(index).equals(field):
            found = _said(got.field(index)) if index < len(got.names) else "nothing"
            return f"column {index}: {found} instead of {_said(field)}"[:200]
    return f"{len(got.names) - len(wanted.names)} columns too many"


def _said(field: pa.Field) -> str:
    return f"{field.name} {field.type}{'' if field.nullable else ' not null'}"
