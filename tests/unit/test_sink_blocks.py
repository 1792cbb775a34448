"""A block is judged as a whole: it must come out as if each of its messages had been judged by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
from footfall_events import rows, schemas
from footfall_events.rows import END_OF_STREAM, decode_rows, encode_rows
from footfall_sinks.batch import Block, Blocks, Item, Limits, open_item, read_item

TOPIC = "store_minutes.v1"
SCHEMA = schemas.STORE_MINUTES


def minute(present: int | None = 1, **other: Any) -> bytes:
    """One row, whose columns may hold nulls that the contract forbids."""
    row: dict[str, Any] = {field.name: 0 for field in SCHEMA}
    row |= {"store_id": "s1", "minute": datetime(2026, 1, 5, 9, tzinfo=UTC), "business_date": date(2026, 1, 5)}
    columns = [
        pa.array([value], SCHEMA.field(name).type) for name, value in (row | other | {"present": present}).items()
    ]
    return encode_rows(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


def unusual(value: bytes) -> bytes:
    """The same rows as an older Arrow frames them, but for the end."""
    batch = pa.ipc.open_stream(value).read_next_batch()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=True)
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
            stream.write_batch(batch)
        return bytes(sink.getvalue())[:-4] + END_OF_STREAM


NONE = encode_rows(pa.RecordBatch.from_pylist([], schema=SCHEMA))
VALUES = {
    "sound": minute(7),
    "no rows": NONE,
    "null": minute(None),
    "bad value": minute(is_final=2),
    "rubbish": b"rubbish",
    "older framing": unusual(minute(7)),
    "bad value in older framing": unusual(minute(is_final=2)),
}


def block_of(*values: bytes) -> Block:
    """What comes out once everything is cut."""
    blocks = Blocks(Limits())
    for offset, value in enumerate(values):
        assert blocks.add((TOPIC, 0), open_item(TOPIC, offset, b"s1", value), 0.0, 0.0) is None
    (block,) = blocks.all()
    return block


def facts(item: Item) -> tuple[int, bytes, str, list[dict[str, Any]]]:
    rows = decode_rows(item.value, SCHEMA).to_pylist() if item.part is not None else []
    return item.offset, item.value, item.poison, rows


@pytest.mark.parametrize("kinds", list(product(VALUES, repeat=3)), ids="-".join)
def test_a_block_is_what_its_messages_are_each_by_itself(kinds: tuple[str, ...]) -> None:
    values = [VALUES[kind] for kind in kinds]
    alone = [read_item(TOPIC, offset, b"s1", value) for offset, value in enumerate(values)]
    block = block_of(*values)
    assert [facts(item) for item in block.items] == [facts(item) for item in alone]
    assert [item.value for item in block.items] == values
    assert block.table().to_pylist() == [row for item in alone for row in facts(item)[3]]


def test_rows_that_are_longer_as_arrow_writes_them_today_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.ipc.open_stream(minute(7)).read_next_batch()
    today = encode_rows(batch.replace_schema_metadata({"x": "y"}))
    value = unusual(today)
    assert len(value) < len(today)
    monkeypatch.setattr(rows, "MAX_BATCH_BYTES", len(value))
    assert block_of(value).rows == 1


def test_the_columns_of_a_block_are_in_one_piece_under_the_contracts_schema() -> None:
    renamed = pa.ipc.open_stream(minute(1)).read_next_batch().replace_schema_metadata({"producer": "another"})
    table = block_of(minute(2), encode_rows(renamed), NONE, minute(3)).table()
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert [column.num_chunks for column in table.columns] == [1] * len(SCHEMA)


@pytest.mark.parametrize("second", VALUES)
def test_a_block_ends_with_the_message_that_fills_it_whatever_that_holds(second: str) -> None:
    blocks = Blocks(Limits(rows=2))
    cut = [
        blocks.add((TOPIC, 0), open_item(TOPIC, offset, b"s1", value), 0.0, 0.0)
        for offset, value in enumerate([minute(1), VALUES[second], minute(1)])
    ]
    assert [block and (block.items[0].offset, block.next_offset) for block in cut] == [None, (0, 2), None]
