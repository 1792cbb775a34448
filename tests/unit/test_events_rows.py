"""A value on the wire is one whole Arrow stream with one batch of the right columns; all else is poison by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from footfall_events.errors import PoisonEvent
from footfall_events.rows import MAX_BATCH_BYTES, RowsReader, decode_rows, encode_rows, refuse_nulls
from footfall_events.schemas import SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, STORE_MINUTES_DESCRIBED, VISITS
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMAS = {
    "sightings": SIGHTINGS,
    "sensor minutes": SENSOR_MINUTES,
    "visits": VISITS,
    "store minutes": STORE_MINUTES,
}
every_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
REASONS = {"not_arrow", "wrong_schema", "not_one_batch", "compressed", "invalid_batch", "oversized"}


def batch(schema: pa.Schema = STORE_MINUTES, rows: int = 4, **changes: Any) -> pa.RecordBatch:
    """Some rows of a topic, nulls wherever they may stand; changes are whole columns."""
    columns = [changes.get(field.name, [_value(field, row) for row in range(rows)]) for field in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _value(field: pa.Field, row: int) -> object:
    if field.nullable and row % 2:
        return None
    if pa.types.is_timestamp(field.type):
        return datetime(2026, 1, 5, 9, row, tzinfo=UTC)
    if pa.types.is_date(field.type):
        return date(2026, 1, 5)
    if pa.types.is_string(field.type):
        return "ab" * row
    return pa.scalar(row % 2).cast(field.type).as_py()


def stream(batches: Sequence[pa.RecordBatch], schema: pa.Schema = STORE_MINUTES, **options: Any) -> bytes:
    """A stream as other programs may write it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for one in batches:
            writer.write_batch(one)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def reason(value: bytes, schema: pa.Schema = STORE_MINUTES) -> str:
    with pytest.raises(PoisonEvent) as caught:
        decode_rows(value, schema)
    return caught.value.reason


# -- round trips -------------------------------------------------------------------------------------------


def _values(field: pa.Field) -> st.SearchStrategy[Any]:
    kind = field.type
    if pa.types.is_timestamp(kind):
        some: st.SearchStrategy[Any] = st.integers(-(2**62), 2**62)
    elif pa.types.is_date(kind):
        some = st.integers(-(2**31), 2**31 - 1)
    elif pa.types.is_string(kind):
        some = st.text(max_size=8)
    elif pa.types.is_boolean(kind):
        some = st.booleans()
    elif pa.types.is_floating(kind):
        some = st.floats(allow_nan=False)
    else:
        signed = pa.types.is_signed_integer(kind)
        low, high = (-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1)) if signed else (0, 2**kind.bit_width)
        some = st.integers(low, high - 1)
    return st.none() | some if field.nullable else some


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Any rows of any topic, some of them a slice of more, under any schema metadata."""
    schema = draw(st.sampled_from(list(SCHEMAS.values())))
    count = draw(st.integers(0, 6))
    arrays = [pa.array(draw(st.lists(_values(field), min_size=count, max_size=count)), field.type) for field in schema]
    metadata = draw(st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=2))
    whole = pa.RecordBatch.from_arrays(arrays, schema=schema.with_metadata(metadata))
    start = draw(st.integers(0, count))
    return whole.slice(start, draw(st.integers(0, count - start)))


@given(batches())
@settings(deadline=None)
def test_what_was_encoded_is_what_is_decoded_metadata_included(sent: pa.RecordBatch) -> None:
    got = decode_rows(encode_rows(sent), sent.schema)
    assert got.equals(sent, check_metadata=True)


@every_schema
def test_a_message_says_by_itself_what_its_columns_are(schema: pa.Schema) -> None:
    assert pa.ipc.open_stream(encode_rows(batch(schema))).schema.equals(schema, check_metadata=True)


def test_a_stream_that_describes_its_columns_as_our_earlier_ones_did_is_as_good() -> None:
    sent = pa.RecordBatch.from_arrays(batch().columns, schema=STORE_MINUTES_DESCRIBED)
    assert decode_rows(encode_rows(sent), STORE_MINUTES).equals(batch())


def test_many_values_are_read_at_once_whatever_their_metadata() -> None:
    described = pa.RecordBatch.from_arrays(batch(rows=2).columns, schema=STORE_MINUTES_DESCRIBED)
    sent = [batch(rows=1), described, batch(rows=0), batch(rows=3)]
    reader = RowsReader(STORE_MINUTES)
    parts = [reader.open(encode_rows(one)) for one in sent]
    assert [part.num_rows for part in parts] == [1, 2, 0, 3]
    wanted = [one.cast(STORE_MINUTES) for one in sent]
    assert reader.read(parts).equals(pa.Table.from_batches(wanted), check_metadata=True)
    assert reader.read([]).equals(STORE_MINUTES.empty_table(), check_metadata=True)


def test_more_producers_than_are_remembered_are_read_as_well() -> None:
    reader = RowsReader(STORE_MINUTES)
    sent = [batch().replace_schema_metadata({"boot": str(number)}) for number in range(150)]
    assert reader.read([reader.open(encode_rows(one)) for one in sent]).num_rows == 150 * 4


# -- poison ------------------------------------------------------------------------------------------------


def _columns(change: Callable[[list[pa.Field]], list[pa.Field]]) -> bytes:
    """A message whose fields, and the columns with them, were changed."""
    schema = pa.schema(change(list(STORE_MINUTES)))
    return encode_rows(batch(schema))


def _not_utf_8() -> bytes:
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    one = batch(rows=1)
    return encode_rows(pa.RecordBatch.from_arrays([text, *one.columns[1:]], schema=STORE_MINUTES))


GOOD = encode_rows(batch())
POISON = [
    pytest.param(b"", "not_arrow", id="nothing"),
    pytest.param(GOOD[:-12], "invalid_batch", id="cut within the columns"),
    pytest.param(b"store_id,minute,present\n", "not_arrow", id="text"),
    pytest.param(b'{"store_id": "s", "present": 3}', "not_arrow", id="JSON"),
    pytest.param(bytes(64), "not_arrow", id="zeros"),
    pytest.param(GOOD[: -len(END_OF_STREAM)], "invalid_batch", id="the end missing"),
    pytest.param(GOOD[:-1], "invalid_batch", id="half the end missing"),
    pytest.param(GOOD + b"\0", "not_one_batch", id="a byte behind the end"),
    pytest.param(GOOD + GOOD, "not_one_batch", id="two messages in one"),
    pytest.param(stream([]), "not_one_batch", id="no batch"),
    pytest.param(stream([batch(), batch()]), "not_one_batch", id="two batches"),
    pytest.param(stream([])[:-8] + stream([]), "not_one_batch", id="a schema for a batch"),
    pytest.param(stream([batch()], compression="zstd"), "compressed", id="a zstd body"),
    pytest.param(stream([batch()], compression="lz4"), "compressed", id="an lz4 body"),
    pytest.param(stream([batch()], metadata_version=pa.ipc.MetadataVersion.V4), "compressed", id="Arrow before 1.0"),
    pytest.param(bytes(MAX_BATCH_BYTES + 1), "oversized", id="a byte too long"),
    pytest.param(_columns(lambda fields: fields[:-1]), "wrong_schema", id="a column too few"),
    pytest.param(_columns(lambda fields: [*fields, pa.field("x", pa.int8())]), "wrong_schema", id="a column too many"),
    pytest.param(_columns(lambda fields: []), "wrong_schema", id="no columns"),
    pytest.param(_columns(lambda fields: fields[::-1]), "wrong_schema", id="the wrong order"),
    pytest.param(
        _columns(lambda fields: [fields[0].with_name("shop"), *fields[1:]]), "wrong_schema", id="the wrong name"
    ),
    pytest.param(
        _columns(lambda fields: [fields[0].with_type(pa.large_string()), *fields[1:]]),
        "wrong_schema",
        id="the wrong type",
    ),
    pytest.param(
        _columns(lambda fields: [fields[0], fields[1].with_type(pa.timestamp("ms")), *fields[2:]]),
        "wrong_schema",
        id="a time without a zone",
    ),
    pytest.param(
        _columns(lambda fields: [fields[0].with_nullable(True), *fields[1:]]),
        "wrong_schema",
        id="a column that may lack",
    ),
    pytest.param(encode_rows(batch(present=[1, None, 2, 3])), "invalid_batch", id="a null where none may be"),
    pytest.param(_not_utf_8(), "invalid_batch", id="a text that is not UTF-8"),
]


@pytest.mark.parametrize(("value", "expected"), POISON)
def test_a_bad_value_is_poison_under_its_reason(value: bytes, expected: str) -> None:
    assert reason(value) == expected


@pytest.mark.parametrize(("value", "expected"), POISON)
def test_a_bad_value_is_as_bad_beside_others(value: bytes, expected: str) -> None:
    reader = RowsReader(STORE_MINUTES)
    with pytest.raises(PoisonEvent) as caught:
        refuse_nulls(reader.read([reader.open(one) for one in (GOOD, value)]))
    assert caught.value.reason == expected


def test_every_reason_is_reached() -> None:
    assert {param.values[1] for param in POISON} == REASONS


def test_the_poison_names_the_column_that_differs() -> None:
    with pytest.raises(PoisonEvent, match="column 0: shop string not null instead of store_id string not null"):
        decode_rows(_columns(lambda fields: [fields[0].with_name("shop"), *fields[1:]]), STORE_MINUTES)
    with pytest.raises(PoisonEvent, match="null in present"):
        decode_rows(encode_rows(batch(present=[1, None, 2, 3])), STORE_MINUTES)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_small_value_that_would_unpack_to_much_is_refused_unread(codec: str) -> None:
    zeros = pa.RecordBatch.from_arrays([pa.repeat(0, 4_000_000)], ["n"])
    value = stream([zeros], zeros.schema, compression=codec)
    assert len(value) < MAX_BATCH_BYTES < zeros.nbytes
    pool = pa.default_memory_pool()
    # With as much held as ever was, whatever is allocated from here on shows in the peak.
    ballast = pa.allocate_buffer(pool.max_memory() - pool.bytes_allocated())
    peak = pool.max_memory()
    assert reason(value, zeros.schema) == "compressed"
    assert pool.max_memory() - peak <= 2 * len(value)
    del ballast


@every_schema
def test_no_beginning_of_a_message_passes_for_a_message(schema: pa.Schema) -> None:
    whole = encode_rows(batch(schema))
    reasons = {reason(whole[:length], schema) for length in range(len(whole))}
    assert reasons <= {"not_arrow", "invalid_batch", "not_one_batch"}


def test_a_body_that_ends_like_a_stream_does_not_hide_that_the_end_is_missing() -> None:
    whole = encode_rows(batch(SIGHTINGS, frame_kinds=[255, 255, 255, 255]))
    assert whole.endswith(END_OF_STREAM * 2), "four set bytes and their padding look like the end of a stream"
    assert reason(whole[: -len(END_OF_STREAM)], SIGHTINGS) == "invalid_batch"


@every_schema
def test_four_thousand_damaged_messages_are_poison_or_a_batch_that_holds(schema: pa.Schema) -> None:
    rng, whole = Random(5), encode_rows(batch(schema))
    outcomes: Counter[str] = Counter()
    for _ in range(4000):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            # The batch's own bytes stand at the end, and matter most.
            at = rng.randrange(len(whole) if rng.random() < 0.3 else min(len(whole), 1200))
            damaged[-1 - at] = rng.choice((rng.randrange(256), damaged[-1 - at] ^ 1 << rng.randrange(8), 0, 255))
        try:
            got = decode_rows(bytes(damaged), schema)
        except PoisonEvent as poison:
            outcomes[poison.reason] += 1
        else:
            got.validate(full=True)
            assert got.schema.equals(schema)
            assert not any(got.column(field.name).null_count for field in schema if not field.nullable)
            outcomes["taken"] += 1
    assert outcomes["taken"] > 100
    assert outcomes["invalid_batch"] > 100
    assert outcomes.keys() <= {*REASONS, "taken"}
