"""What the worker reads of a batch by place is what Arrow reads, whatever it has read before."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from footfall_events import sighting_reader
from footfall_events.errors import PoisonEvent
from footfall_events.rows import encode_rows
from footfall_events.schemas import SIGHTINGS
from footfall_events.sighting_batches import MAX_SIGHTINGS_BYTES, BatchHeader, encode_sightings, open_sightings
from footfall_events.sighting_reader import COLUMNS, INAUDIBLE, SightingsReader, columns_of

from tests.property.damage import damage

NOW_MS = 1_767_600_000_000


@pytest.fixture
def by_arrow(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Arrow was asked."""
    asked: Counter[str] = Counter()

    def counted(value: bytes) -> tuple[BatchHeader, pa.RecordBatch]:
        asked["times"] += 1
        return open_sightings(value)

    monkeypatch.setattr(sighting_reader, "open_sightings", counted)
    return asked


def rows(count: int, random: Random, **columns: list[Any]) -> pa.RecordBatch:
    of_each: dict[str, list[Any]] = {
        "device_id": [random.randrange(2**64) for _ in range(count)],
        "observed_at": [NOW_MS - random.randrange(10_000) for _ in range(count)],
        "span_ms": [random.randrange(2**16) for _ in range(count)],
        "rssi_dbm": [random.randrange(-128, 128) for _ in range(count)],
        "address_class": [random.randrange(-128, 128) for _ in range(count)],
    }
    of_each |= {"frames": [1] * count, "freq_mhz": [2412] * count, "frame_kinds": [1] * count, **columns}
    return pa.RecordBatch.from_arrays(
        [pa.array(of_each[field.name], field.type) for field in SIGHTINGS], schema=SIGHTINGS
    )


def header(random: Random) -> BatchHeader:
    """One of a few sensors, at any time of its life; often with numbers that occur twice."""
    store, sensor, boot = (random.choice(names) for names in (("s", "store-0001"), ("a", "till"), ("b1", "b-0002")))
    seq = random.choice((random.randrange(12), random.randrange(10**5), random.randrange(10**9), NOW_MS, 2**62 - 1))
    clock_ms = random.choice((NOW_MS + random.randrange(1000), 2**42 - 1, 7, seq % 2**42))
    return BatchHeader(store, sensor, boot, seq, clock_ms, random.choice((1, 7, 11)), "1.0", random.random() < 0.2)


def read_by_arrow(value: bytes) -> tuple[BatchHeader, dict[str, list[int]], bool]:
    found, batch = open_sightings(value)
    columns = {name: batch.column(name) for name in COLUMNS}
    columns["observed_at"] = columns["observed_at"].cast(pa.int64())
    told = {name: column.to_pylist() for name, column in columns.items()}
    nulls = {"rssi_dbm": INAUDIBLE}
    without = {name: [nulls.get(name, 0) if one is None else one for one in each] for name, each in told.items()}
    return (
        found,
        without,
        any(True in column.is_null().to_pylist() for column in batch.drop_columns("rssi_dbm").columns),
    )


def read_by_place(reader: SightingsReader, value: bytes) -> tuple[BatchHeader, dict[str, list[int]], bool]:
    found, batch = reader.open(value)
    columns = {name: column.tolist() for name, column in columns_of([batch]).items()}
    assert {len(column) for column in columns.values()} == {batch.num_rows}
    return found, columns, batch.holds_nulls


def outcome(read: Any, *args: Any) -> Any:
    try:
        return read(*args)
    except PoisonEvent as error:
        return error.reason


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_by_place_is_what_arrow_reads(seed: int, by_arrow: Counter[str]) -> None:
    random, reader, kinds = Random(seed), SightingsReader(), Counter[str]()
    with_nulls: Mapping[str, list[Any]] = {"rssi_dbm": [None, -50], "device_id": [1, None], "frames": [None, 1]}
    for number in range(1500):
        name = random.choice(list(with_nulls))
        nulls = {name: with_nulls[name]} if random.random() < 0.1 else {}
        value = encode_sightings(header(random), rows(2 if nulls else random.randrange(5), random, **nulls))
        if random.random() < 0.4:
            value = damage(value, seed * 10_000 + number)
        wanted = outcome(read_by_arrow, value)
        assert outcome(read_by_place, reader, value) == wanted
        kinds[wanted if isinstance(wanted, str) else "null" if wanted[2] else "batch"] += 1
    assert min(kinds[kind] for kind in ("batch", "null", "invalid_batch", "not_arrow")) > 20, kinds
    assert by_arrow["times"] < 1500 - kinds["batch"] / 4, "hardly anything was read by place"


def test_a_number_that_two_fields_share_is_not_taken_for_one_of_them(by_arrow: Counter[str]) -> None:
    one, other = (_sharing(number) for number in (5_555_555, 6_666_666))
    reader = SightingsReader()
    for value in (one, other, one, other):
        assert outcome(read_by_place, reader, value) == read_by_arrow(value)
    assert (read_by_arrow(one)[0].batch_seq, read_by_arrow(one)[0].key_epoch) == (5_555_555, 5_555_555)
    assert by_arrow["times"] == 4


def _sharing(number: int) -> bytes:
    """A batch whose `key_epoch` and `batch_seq` refer to one text."""
    value = bytearray(encode_sightings(BatchHeader("s", "a", "b", number, NOW_MS, number, "1"), rows(1, Random(1))))
    text = struct.pack("<I", 7) + str(number).encode()
    places = [at for at in range(len(value)) if value.startswith(text, at)]
    assert len(places) == 2
    referring = [
        at
        for at in range(0, places[1], 4)
        if at + struct.unpack_from("<I", value, at)[0] in places and at not in places
    ]
    assert len(referring) == 2
    for at in referring:
        struct.pack_into("<I", value, at, places[1] - at)
    value[places[0] : places[0] + len(text)] = bytes(len(text))
    return bytes(value)


def test_a_known_header_with_another_body_is_read_again(by_arrow: Counter[str]) -> None:
    reader, random = SightingsReader(), Random(1)
    told = BatchHeader("s", "a", "b", 1000, NOW_MS, 1, "1")
    for count in (3, 3, 4, 4, 3):
        value = encode_sightings(told, rows(count, random))
        assert read_by_place(reader, value) == read_by_arrow(value)
    assert by_arrow["times"] == 2
    for wrong in (value[:-1], value[:-8], value + b"\0", value + value, value[:-8] + bytes(8)):
        assert outcome(read_by_place, reader, wrong) == outcome(read_by_arrow, wrong)
    assert by_arrow["times"] == 7


@pytest.mark.parametrize(("field", "most"), [("batch_seq", 2**62 - 1), ("sensor_clock_ms", 2**42 - 1)])
def test_a_known_header_with_too_large_a_number_is_poison(field: str, most: int) -> None:
    reader, usual = SightingsReader(), BatchHeader("s", "a", "b", 1000, NOW_MS, 1, "1")

    def told(number: int) -> BatchHeader:
        return replace(usual, batch_seq=number) if field == "batch_seq" else replace(usual, sensor_clock_ms=number)

    for number in (most - 1, most):
        assert getattr(reader.open(encode_sightings(told(number), rows(1, Random(1))))[0], field) == number
    with pytest.raises(PoisonEvent, match="bad_header"):
        reader.open(encode_sightings(told(most + 1), rows(1, Random(1))))


def test_a_known_header_before_a_known_body_may_be_too_long_together() -> None:
    reader, short = SightingsReader(), BatchHeader("s", "a", "b", 1000, NOW_MS, 1, "1")
    long = replace(short, boot_id="b" * 200)
    spare = MAX_SIGHTINGS_BYTES - len(encode_sightings(long, rows(0, Random(1))))
    per_row = 25
    largest = rows(spare // per_row + 1, Random(1))
    for told, batch in ((short, largest), (long, rows(1, Random(1)))):
        reader.open(encode_sightings(told, batch))
    with pytest.raises(PoisonEvent, match="oversized"):
        reader.open(encode_sightings(long, largest))


def test_columns_of_another_schema_are_not_read_by_place(by_arrow: Counter[str]) -> None:
    reader, batch = SightingsReader(), rows(3, Random(1))
    told = BatchHeader("s", "a", "b", 1000, NOW_MS, 1, "1")
    reader.open(encode_sightings(told, batch))
    swapped = batch.select([*batch.schema.names[1:], batch.schema.names[0]])
    with pytest.raises(PoisonEvent, match="wrong_schema"):
        reader.open(encode_rows(swapped.replace_schema_metadata(told.to_metadata())))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, by_arrow: Counter[str]) -> None:
    monkeypatch.setattr(sighting_reader, "_MOST_HEADERS", 10)
    monkeypatch.setattr(sighting_reader, "_MOST_LAYOUTS", 3)
    monkeypatch.setattr(sighting_reader, "_MOST_SPOTS", 2)
    reader, random = SightingsReader(), Random(1)
    for number in range(200):
        told = BatchHeader("s", "a" * random.randrange(1, 9), f"{number}-boot", 10**6, NOW_MS, 1, "1")
        reader.open(encode_sightings(told, rows(number % 7, random)))
        known = [spots for each in reader._spots.values() for spots in each]
        assert sum(len(spots.headers) for spots in known) <= 10
        assert len(reader._layouts) <= 3
        assert all(len(each) <= 2 for each in reader._spots.values())
