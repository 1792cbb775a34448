"""What the sink reads of many values by place is what Arrow reads of each."""

from __future__ import annotations

import struct
from collections import Counter
from random import Random

import pyarrow as pa
import pytest
from footfall_events.errors import PoisonEvent
from footfall_events.rows import RowsReader, encode_rows, open_rows
from footfall_events.schemas import SENSOR_MINUTES, STORE_MINUTES, VISITS

VALUES: dict[bool, tuple[int | None, ...]] = {False: (0, 1), True: (0, 1, None)}
SCHEMAS = {"store minutes": STORE_MINUTES, "sensor minutes": SENSOR_MINUTES, "visits": VISITS}
NAMES = ("s", "store-0001", "store-0002", "Zürich", "", "日本")


@pytest.fixture
def by_arrow(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Arrow read the rows."""
    asked: Counter[str] = Counter()
    right = RowsReader._by_arrow

    def counted(reader: RowsReader, parts: list[object]) -> pa.Table:
        asked["times"] += 1
        return right(reader, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(RowsReader, "_by_arrow", counted)
    return asked


def batch(schema: pa.Schema, rows: int, random: Random, names: tuple[str, ...] = NAMES) -> pa.RecordBatch:
    """Any rows, often cut from more."""
    before, behind = random.choice(((0, 0), (2, 0), (1, 3)))
    count = before + rows + behind
    columns = [
        pa.array([random.choice(names) for _ in range(count)])
        if pa.types.is_string(field.type)
        else _numbers([random.choice(VALUES[field.nullable]) for _ in range(count)], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema).slice(before, rows)


def _numbers(values: list[int | None], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64() if pa.types.is_timestamp(kind) else pa.int32()).cast(kind)


def apart(values: list[bytes], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches([open_rows(value, schema).replace_schema_metadata(None) for value in values])


def together(values: list[bytes], schema: pa.Schema, reader: RowsReader | None = None) -> pa.Table:
    reader = reader or RowsReader(schema)
    return reader.read([reader.open(value) for value in values]).replace_schema_metadata(None)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))
def test_plain_values_are_read_in_their_order_without_arrow(schema: pa.Schema, by_arrow: Counter[str]) -> None:
    for seed in range(40):
        random = Random(seed)
        sizes = random.sample(range(1, 9), 2)
        names = random.choice((NAMES, ("store-0001", "store-0002")))
        values = [encode_rows(batch(schema, random.choice(sizes), random, names)) for _ in range(200)]
        asked = by_arrow["times"]
        assert together(values, schema).equals(apart(values, schema)), f"seed {seed}"
        alike = names != NAMES and schema is not VISITS  # in the lengths of their strings, and in how many are null
        assert by_arrow["times"] == asked or not alike


def test_values_that_have_as_many_nulls_are_read_without_arrow(by_arrow: Counter[str]) -> None:
    for rows in (1, 3, 8, 13):
        random = Random(rows)
        values = [encode_rows(visits(random, rows)) for _ in range(100)]
        assert together(values, VISITS).equals(apart(values, VISITS))
    assert by_arrow["times"] == 0


def visits(random: Random, rows: int) -> pa.RecordBatch:
    """Some of which were not inside, always as many."""
    outside = set(random.sample(range(rows), rows // 2))
    found = batch(VISITS, rows, random, ("store-0001", "store-0002"))
    columns = [
        _numbers([None if row in outside else random.randrange(2) for row in range(rows)], field.type)
        if field.nullable
        else column
        for field, column in zip(VISITS, found.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=VISITS)


def test_values_with_other_nulls_than_their_head_says_are_refused_among_others() -> None:
    good = [encode_rows(visits(Random(seed), 8)) for seed in range(40)]
    wrong = with_another_null(good[0], "dwell_s")
    with pytest.raises(PoisonEvent, match="invalid_batch"):
        open_rows(wrong, VISITS)
    reader = RowsReader(VISITS)
    assert together(good, VISITS, reader).num_rows == 320
    with pytest.raises(PoisonEvent, match="invalid_batch"):
        together([*good, wrong], VISITS, reader)


def with_another_null(value: bytes, column: str) -> bytes:
    """The first row's value becomes a null, or a null a value."""
    source = pa.py_buffer(value)
    validity = pa.ipc.open_stream(source).read_next_batch().column(column).buffers()[0]
    at = validity.address - source.address
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def test_a_head_that_is_known_says_nothing_of_the_characters(by_arrow: Counter[str]) -> None:
    """What a writer pads, it may fill more or less."""
    random, reader = Random(1), RowsReader(STORE_MINUTES)
    for _ in range(20):
        values = [encode_rows(batch(STORE_MINUTES, 3, random, ("ab", "cde", "f")).slice(0, 2)) for _ in range(50)]
        assert together(values, STORE_MINUTES, reader).equals(apart(values, STORE_MINUTES))


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_values_or_empty_ones_are_left_to_arrow_or_not_but_read(rows: int) -> None:
    for count in (1, 3, 5, 50):
        values = [encode_rows(batch(STORE_MINUTES, rows, Random(seed))) for seed in range(count)]
        assert together(values, STORE_MINUTES).equals(apart(values, STORE_MINUTES))


def test_values_of_another_kind_are_left_to_arrow(by_arrow: Counter[str]) -> None:
    schema = pa.schema([pa.field("bands", pa.list_(pa.int8())), pa.field("nothing", pa.null())])
    one = pa.RecordBatch.from_pydict({"bands": [[1, 2], None], "nothing": [None, None]}, schema=schema)
    values = [encode_rows(one)] * 50
    assert together(values, schema).equals(apart(values, schema))
    assert by_arrow["times"] == 1


def strings(*pieces: tuple[list[int], bytes]) -> list[bytes]:
    """Values of store minutes whose store ids have these offsets and characters, whoever may write such."""
    values = []
    for offsets, characters in pieces:
        names = ["x" * len(characters), *[""] * (len(offsets) - 2)]
        others = batch(STORE_MINUTES, len(names), Random(0)).columns[1:]
        value = encode_rows(pa.RecordBatch.from_arrays([pa.array(names), *others], schema=STORE_MINUTES))
        usual = _offsets([0, *[len(characters)] * len(names)])
        assert value.count(usual) == 1
        assert value.count(names[0].encode()) == 1
        values.append(value.replace(usual, _offsets(offsets)).replace(names[0].encode(), characters))
    return values


def _offsets(offsets: list[int]) -> bytes:
    return struct.pack(f"<{len(offsets)}i", *offsets)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([([0, 1, 30], "é".encode() * 15)], id="half a character each"),
        pytest.param([([0, 5, 30], b"a" * 29 + b"\xc3"), ([0, 5, 30], b"\xa9" + b"a" * 29)], id="half in two values"),
        pytest.param([([0, 20, 10], b"a" * 30)], id="offsets that go back"),
        pytest.param([([0, 1, 3000], b"a" * 30)], id="an offset behind the characters"),
        pytest.param([([0, -1, 30], b"a" * 30)], id="an offset before them"),
    ],
)
@pytest.mark.parametrize("beside", [0, 1, 40])
def test_strings_that_arrow_refuses_are_refused_among_others(wrong: list[tuple[list[int], bytes]], beside: int) -> None:
    for value in strings(*wrong)[:1]:
        with pytest.raises(PoisonEvent, match="invalid_batch"):
            open_rows(value, STORE_MINUTES)
    good = strings(([0, 10, 30], b"a" * 30)) * beside
    reader = RowsReader(STORE_MINUTES)
    together(good + good, STORE_MINUTES, reader)
    for values in (good + strings(*wrong) * 5, strings(*wrong) * 5 + good):
        with pytest.raises(PoisonEvent, match="invalid_batch"):
            together(values, STORE_MINUTES, reader)
    assert together(good + good, STORE_MINUTES, reader).num_rows == 4 * beside


def test_strings_that_begin_anywhere_are_read(by_arrow: Counter[str]) -> None:
    values = strings(([1, 20, 25], b"b" * 30), ([0, 21, 30], b"c" * 30)) * 20
    assert together(values, STORE_MINUTES).equals(apart(values, STORE_MINUTES))
    assert by_arrow["times"] == 1


def test_a_head_that_gives_a_column_too_few_bytes_is_refused_however_many_have_it() -> None:
    value = encode_rows(batch(STORE_MINUTES, 4, Random(0)))
    # The places of its buffers stand in the head one behind the other: eight bytes for where, eight for how many.
    (begin,) = (at for at in range(len(value)) if value[at:].startswith(struct.pack("<qq", 0, 20)))
    last = begin + 16 * (2 * len(STORE_MINUTES) - 1)  # behind characters, and nulls and values of each other column
    where, length = struct.unpack_from("<qq", value, last)
    assert length == 8 * 4, "versions"
    short = value[:last] + struct.pack("<qq", where, 8) + value[last + 16 :]
    with pytest.raises(PoisonEvent, match="invalid_batch"):
        open_rows(short, STORE_MINUTES)
    for count in (1, 20):
        with pytest.raises(PoisonEvent, match="invalid_batch"):
            together([short] * count, STORE_MINUTES)
