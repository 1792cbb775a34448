"""A batch's header travels with its rows; one that is missing, too long or no number is poison."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random

import pyarrow as pa
import pytest
from footfall_events.errors import PoisonEvent
from footfall_events.rows import encode_rows
from footfall_events.schemas import SIGHTINGS
from footfall_events.sighting_batches import BatchHeader, decode_sightings, encode_sightings
from hypothesis import given, settings
from hypothesis import strategies as st

HEADER = BatchHeader("north", "door", "b0", 7, 1_767_600_000_000, 20_458, "0.1.0")
FIELDS = {
    b"store_id": b"north",
    b"sensor_id": b"door",
    b"boot_id": b"b0",
    b"batch_seq": b"7",
    b"sensor_clock_ms": b"1767600000000",
    b"final": b"0",
    b"key_epoch": b"20458",
    b"collector_version": b"0.1.0",
}
TEXTS = ("store_id", "sensor_id", "boot_id", "collector_version")
NUMBERS = {"batch_seq": 2**62, "sensor_clock_ms": 2**42, "key_epoch": 2**32}
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: len(text.encode()) <= 200)


def rows(count: int) -> pa.RecordBatch:
    row = {
        "device_id": 2**64 - 1,
        "observed_at": datetime(2026, 1, 5, 9, tzinfo=UTC),
        "span_ms": 10_000,
        "rssi_dbm": None,
        "frames": 1,
        "freq_mhz": 2412,
        "address_class": 1,
        "frame_kinds": 255,
    }
    return pa.RecordBatch.from_pylist([row] * count, schema=SIGHTINGS)


def with_metadata(fields: dict[bytes, bytes] | None) -> bytes:
    return encode_rows(rows(1).replace_schema_metadata(fields))


def refusal(fields: dict[bytes, bytes] | None) -> str:
    with pytest.raises(PoisonEvent) as caught:
        decode_sightings(with_metadata(fields))
    assert caught.value.reason == "bad_header"
    return str(caught.value)


headers = st.builds(
    BatchHeader,
    texts,
    texts,
    texts,
    st.integers(0, 2**62 - 1),
    st.integers(0, 2**42 - 1),
    st.integers(0, 2**32 - 1),
    texts,
    st.booleans(),
)


@given(headers, st.integers(0, 3))
@settings(deadline=None)
def test_header_and_rows_come_back_as_they_were_sent(header: BatchHeader, count: int) -> None:
    got, batch = decode_sightings(encode_sightings(header, rows(count)))
    assert got == header
    assert batch.replace_schema_metadata(None).equals(rows(count))


def test_the_header_is_schema_metadata_that_any_arrow_tool_shows() -> None:
    schema = pa.ipc.open_stream(encode_sightings(HEADER, rows(1))).schema
    assert schema.equals(SIGHTINGS.with_metadata(FIELDS), check_metadata=True)


def test_a_final_batch_says_so_as_one() -> None:
    final = with_metadata({**FIELDS, b"final": b"1"})
    assert decode_sightings(final)[0].final
    assert not decode_sightings(with_metadata(FIELDS))[0].final


def test_a_batch_without_rows_is_a_heartbeat() -> None:
    header, batch = decode_sightings(encode_sightings(HEADER, rows(0)))
    assert (header, batch.num_rows) == (HEADER, 0)


@pytest.mark.parametrize("name", [*TEXTS, *NUMBERS, "final"])
def test_each_field_must_be_there(name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != name.encode()}
    assert refusal(fields) == f"bad_header: {name} is missing or too long"
    assert refusal({**FIELDS, name.encode(): b""}) == f"bad_header: {name} is missing or too long"


@pytest.mark.parametrize("fields", [None, {}], ids=["none", "empty"])
def test_rows_without_metadata_are_no_batch(fields: dict[bytes, bytes] | None) -> None:
    assert refusal(fields) == "bad_header: final is missing or too long"


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_may_have_two_hundred_bytes_of_utf_8_and_no_more(name: str) -> None:
    longest = "ä" * 100
    header, _ = decode_sightings(with_metadata({**FIELDS, name.encode(): longest.encode()}))
    assert getattr(header, name) == longest
    assert refusal({**FIELDS, name.encode(): longest.encode() + b"a"}) == f"bad_header: {name} is missing or too long"
    assert refusal({**FIELDS, name.encode(): b"\xff\xfe"}) == f"bad_header: {name} is not UTF-8"


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("-1", id="negative"),
        pytest.param("+1", id="signed"),
        pytest.param("1.0", id="a fraction"),
        pytest.param("1e3", id="an exponent"),
        pytest.param(" 1", id="a space"),
        pytest.param("1_000", id="an underscore"),
        pytest.param("0x10", id="hexadecimal"),
        pytest.param("²", id="a digit that is no number"),
        pytest.param("١٢", id="digits of another script"),
        pytest.param("9" * 200, id="two hundred digits"),
        pytest.param("nan", id="no number"),
    ],
)
def test_a_number_is_plain_digits(name: str, text: str) -> None:
    assert refusal({**FIELDS, name.encode(): text.encode()}) == f"bad_header: {name} is {text[:40]!r}"


@pytest.mark.parametrize(("name", "below"), NUMBERS.items(), ids=NUMBERS)
def test_a_number_stays_below_its_limit(name: str, below: int) -> None:
    header, _ = decode_sightings(with_metadata({**FIELDS, name.encode(): str(below - 1).encode()}))
    assert getattr(header, name) == below - 1
    assert refusal({**FIELDS, name.encode(): str(below).encode()}) == f"bad_header: {name} is {str(below)!r}"


@pytest.mark.parametrize("text", ["2", "true", "01", "-1"])
def test_final_is_zero_or_one(text: str) -> None:
    assert refusal({**FIELDS, b"final": text.encode()}) == f"bad_header: final is {text!r}"


def test_rows_of_another_topic_are_poison_before_their_header_is_read() -> None:
    other = pa.RecordBatch.from_pylist([], schema=pa.schema([("n", pa.int8())]))
    with pytest.raises(PoisonEvent, match="wrong_schema"):
        decode_sightings(encode_rows(other.replace_schema_metadata(FIELDS)))


def test_four_thousand_damaged_headers_are_poison_or_a_header_that_holds() -> None:
    rng, whole = Random(6), encode_sightings(HEADER, rows(3))
    begin = whole.index(b"collector_version") - 64
    end = whole.index(b"store_id") + 64
    assert 0 < begin < end < len(whole)
    outcomes: Counter[str] = Counter()
    for _ in range(4000):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(begin, end)
            damaged[at] = rng.choice((rng.randrange(256), damaged[at] ^ 1 << rng.randrange(8)))
        try:
            header, batch = decode_sightings(bytes(damaged))
        except PoisonEvent as poison:
            outcomes[poison.reason] += 1
        else:
            assert decode_sightings(encode_sightings(header, batch))[0] == header
            outcomes["taken"] += 1
    assert outcomes["taken"] > 100
    assert outcomes["bad_header"] > 100
