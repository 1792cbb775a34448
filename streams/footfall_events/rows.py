"""One Arrow IPC stream with one record batch: how every value of every topic is written and read."""

from __future__ import annotations

import pyarrow as pa

from footfall_events.errors import PoisonEvent

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""What a message may hold once decoded; a small value that unpacks to more is refused unread."""


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """The batch as one self-describing IPC stream, uncompressed: Kafka's zstd does that for all of it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode_rows(value: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The one batch in `value`, its columns exactly those of `schema` (schema metadata is kept).

    Raises PoisonEvent: `not_arrow`, `wrong_schema`, `not_one_batch`, `invalid_batch`, `oversized`.
    """
    if not value:
        raise PoisonEvent("not_arrow", "empty value")
    try:
        reader = pa.ipc.open_stream(pa.py_buffer(value))
        if not reader.schema.equals(schema, check_metadata=False):
            raise PoisonEvent("wrong_schema", _difference(reader.schema, schema))
        batch = reader.read_next_batch()
        if batch.nbytes > MAX_BATCH_BYTES:
            raise PoisonEvent("oversized", f"{batch.nbytes} bytes decoded")
        batch.validate(full=True)
        _refuse_nulls(batch)
        try:
            reader.read_next_batch()
        except StopIteration:
            return batch
        raise PoisonEvent("not_one_batch", "more than one record batch")
    except StopIteration:
        raise PoisonEvent("not_one_batch", "no record batch") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = "not_arrow" if isinstance(error, OSError) else "invalid_batch"
        raise PoisonEvent(reason, str(error)[:200]) from error


def _refuse_nulls(batch: pa.RecordBatch) -> None:
    """Arrow does not check nullability on reading; numpy would turn a null into a number."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise PoisonEvent("invalid_batch", f"null in {field.name}")


def _difference(got: pa.Schema, wanted: pa.Schema) -> str:
    for index, field in enumerate(wanted):
        if index >= len(got.names) or not got.field(index).equals(field):
            found = str(got.field(index)) if index < len(got.names) else "nothing"
            return f"column {index}: {found} instead of {field}"[:200]
    return f"{len(got.names) - len(wanted.names)} columns too many"
