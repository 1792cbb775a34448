"""One Arrow IPC stream with one record batch: how every value of every topic is written and read."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pyarrow as pa

from footfall_events.errors import PoisonEvent

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Longest value that is read. None unpacks to more: a body that Arrow would have to decompress is refused unread."""

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
# Places in Arrow's flatbuffer tables (format/Message.fbs): Message.header, RecordBatch.compression.
_HEADER, _COMPRESSION = 2, 3

_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, struct.error)


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """The batch as one self-describing IPC stream, uncompressed: Kafka's zstd does that for all of it."""
    return encode_each([batch])[0]


def encode_each(batches: Sequence[pa.RecordBatch]) -> list[bytes]:
    """The same for some batches of one schema, which takes longer to write than most batches."""
    schema = batches[0].schema.serialize()
    return [b"".join((schema, batch.serialize(), _END_OF_STREAM)) for batch in batches]


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
    vtable = table - struct.unpack_from("<i", flatbuffer, table)[0]
    entry = 4 + 2 * field
    if entry >= struct.unpack_from("<H", flatbuffer, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", flatbuffer, vtable + entry)[0]
    return table + offset + int(struct.unpack_from("<I", flatbuffer, table + offset)[0]) if offset else 0


def _refuse_rest(rest: bytes) -> None:
    """Arrow takes a stream that is cut off after its batch for whole, and ignores what follows an end."""
    if rest == _END_OF_STREAM:
        return
    if _END_OF_STREAM.startswith(rest):
        raise PoisonEvent("invalid_batch", "cut off before the end of the stream")
    raise PoisonEvent("not_one_batch", f"{len(rest)} bytes behind the batch are not the end of the stream")


def refuse_nulls(batch: pa.RecordBatch) -> None:
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
