"""Whatever bytes come: a batch within the contract's limits or poison with a known reason, and bounded work."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from footfall_events.errors import PoisonEvent
from footfall_events.rows import RowsReader, encode_rows, open_rows
from footfall_events.schemas import SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, TIMESTAMP, VISITS
from footfall_events.sighting_batches import MAX_SIGHTINGS_BYTES, BatchHeader, decode_sightings, encode_sightings
from footfall_events.sighting_reader import SightingsReader, columns_of
from footfall_events.topics import DEAD_LETTERS
from footfall_sinks.batch import TARGETS, Block, read_item
from footfall_streams.events import Batch, Message, read_batches
from footfall_streams.fold import StoreJob
from footfall_streams.step import Step
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.damage import damage
from tests.property.worlds import START_MS, SentBatch, Sighting, Tables, chain, messages, run, world

DECODING = {"not_arrow", "wrong_schema", "not_one_batch", "compressed", "invalid_batch", "oversized"}
JUDGING = {"bad_header", "unknown_store", "wrong_key", "unknown_sensor", "clock_not_set", "clock_ahead"}
JUDGING |= {"rows_ahead_of_clock", "unstable_address", "span_too_long"}
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NOW_MS = START_MS + 2 * HOUR_MS
MINUTES = 50
READER = SightingsReader()
EARLIEST_MS = 946_684_800_000
CONFIG = chain().stores["s"]
HEADER = BatchHeader("s", "a", "boot", 10**6, NOW_MS, 1, "test")
GOOD = SentBatch("a", 10**6, NOW_MS, tuple(Sighting("a", n, NOW_MS - n * 1000, 500, -50) for n in range(9))).value()


def message(value: bytes, offset: int = 0) -> Message:
    return Message(0, offset, b"s", value, NOW_MS)


# -- bytes -------------------------------------------------------------------------------------------------


def read(one: Message) -> Batch | str:
    """The batch, or the reason why it is none."""
    chunk = read_batches([one], {"s": 0}, [CONFIG], [0], READER)
    return chunk.batches[0] if chunk.batches else chunk.poison[0][1]


def judged(value: bytes) -> str:
    """The reason for which the worker refuses it; empty for a batch, which is then within the contract's limits."""
    batch = read(message(value))
    if isinstance(batch, str):
        assert batch in DECODING | JUDGING
        return batch
    columns = {name: column.tolist() for name, column in columns_of([batch.rows]).items()}
    assert EARLIEST_MS <= batch.header.sensor_clock_ms <= NOW_MS + 120_000
    assert all(EARLIEST_MS <= at <= batch.header.sensor_clock_ms + 15_000 for at in columns["observed_at"])
    assert set(columns["address_class"]) <= {1, 2}
    assert max(columns["span_ms"], default=0) <= 10_000
    assert sum(map(len, batch.rows.columns)) <= MAX_SIGHTINGS_BYTES
    return ""


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_arbitrary_bytes_are_poison(value: bytes) -> None:
    assert judged(value) in DECODING


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
@settings(deadline=None)
def test_a_batch_that_goes_on_as_something_else_is_poison_or_a_batch(tail: bytes, keep: int) -> None:
    judged(GOOD[:keep] + tail)


def test_every_cut_of_a_batch_is_poison() -> None:
    assert {judged(GOOD[:length]) for length in range(len(GOOD))} <= DECODING
    assert judged(GOOD) == ""


def test_five_thousand_damaged_batches_are_poison_or_a_batch() -> None:
    outcomes = Counter(judged(damage(GOOD, seed)) for seed in range(5000))
    assert len(outcomes) > 6, outcomes
    assert min(outcomes[""], outcomes["not_arrow"], outcomes["invalid_batch"], outcomes["bad_header"]) > 20, outcomes


@pytest.mark.parametrize("topic", TARGETS)
def test_three_thousand_damaged_values_of_the_sinks_topics_are_poison_or_rows_that_a_view_can_show(topic: str) -> None:
    schema = TARGETS[topic].schema
    good = encode_rows(pa.RecordBatch.from_pylist([plain_row(schema) for _ in range(4)], schema=schema))
    outcomes: Counter[str] = Counter()
    for seed in range(3000):
        item = read_item(topic, 0, b"s", damage(good, seed))
        outcomes[item.poison] += 1
        assert (item.part is None) == bool(item.poison)
        assert item.poison in DECODING | {"", "bad_value"}
        for row in Block(topic, 0, (item,)).table().to_pylist():
            assert row.get("role", 1) in (1, 2, 3, 4)
            assert row.get("deleted", 0) in (0, 1)
            assert 0 <= row.get("listening_s", 0) <= 60
            assert row["business_date"].year < 2110
    assert outcomes[""] > 20, outcomes


@pytest.mark.parametrize("topic", TARGETS)
def test_values_read_together_are_those_that_are_read_one_by_one(topic: str) -> None:
    schema = TARGETS[topic].schema
    good = encode_rows(pa.RecordBatch.from_pylist([plain_row(schema) for _ in range(4)], schema=schema))
    reader, parts, rows, reasons = RowsReader(schema), [], [], Counter[str]()
    for seed in range(3000):
        value = damage(good, seed)
        wanted, reason = _outcome(partial(open_rows, value, schema))
        got, found = _outcome(partial(_read, reader, value))
        assert found == reason, f"seed {seed}"
        reasons[found] += 1
        if wanted is not None:
            assert _bits(got).equals(_bits(pa.Table.from_batches([wanted], schema))), f"seed {seed}"
            parts.append(reader.open(value))
            rows.append(wanted)
    assert _bits(reader.read(parts)).equals(_bits(pa.Table.from_batches(rows, schema)))
    assert min(reasons[""], reasons["invalid_batch"], reasons["not_arrow"]) > 20, reasons


def _read(reader: RowsReader, value: bytes) -> pa.Table:
    """Read alone, as Arrow does it, and among others like it, by place."""
    part = reader.open(value)
    alone, among = reader.read([part]), reader.read([part] * 5)
    assert _bits(among).equals(_bits(pa.concat_tables([alone] * 5)))
    return alone


def _bits(rows: pa.Table) -> pa.Table:
    """Numbers that are none equal no number: floats as the integers of their bits."""
    columns = [column.combine_chunks() for column in rows.columns]
    return pa.table([c.view(pa.int64()) if pa.types.is_floating(c.type) else c for c in columns], rows.column_names)


def _outcome(read: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return read(), ""
    except PoisonEvent as error:
        return None, error.reason


def plain_row(schema: pa.Schema) -> dict[str, Any]:
    """A row that may be stored."""
    usual = {field.name: "s" if pa.types.is_string(field.type) else 1 for field in schema}
    return {**usual, "engaged": True}


EXTREMES = {
    "a role that has no name": (VISITS, "role", 5),
    "no role": (VISITS, "role", 0),
    "an address that is random": (VISITS, "address_class", 3),
    "neither withdrawn nor not": (VISITS, "deleted", 2),
    "a start in the year 1": (VISITS, "first_seen_at", -62_135_596_800_000),
    "an end in the year 9999": (VISITS, "last_seen_at", 253_402_300_799_000),
    "the first instant there is": (VISITS, "entered_at", -(2**63)),
    "the last instant there is": (VISITS, "left_at", 2**63 - 1),
    "a date before 1970": (VISITS, "business_date", -1),
    "the last date there is": (VISITS, "business_date", 2**31 - 1),
    "a name of a megabyte": (VISITS, "store_id", "s" * 2**20),
    "a minute in the year 292 million": (STORE_MINUTES, "minute", 2**63 - 1),
    "half final": (STORE_MINUTES, "is_final", 2),
    "a minute of 61 seconds": (SENSOR_MINUTES, "listening_s", 60.5),
    "less than nothing heard": (SENSOR_MINUTES, "listening_s", -0.5),
    "no number": (SENSOR_MINUTES, "listening_s", float("nan")),
    "no end": (SENSOR_MINUTES, "listening_s", float("inf")),
}


@pytest.mark.parametrize(("schema", "column", "value"), EXTREMES.values(), ids=EXTREMES)
def test_a_value_that_no_view_can_show_is_no_row(schema: pa.Schema, column: str, value: object) -> None:
    topic = next(name for name, target in TARGETS.items() if target.schema is schema)
    for rows in ([plain_row(schema)], [plain_row(schema), {**plain_row(schema), column: value}]):
        columns = [pa.array([row[field.name] for row in rows], _raw(field.type)).cast(field.type) for field in schema]
        item = read_item(topic, 0, b"s", encode_rows(pa.RecordBatch.from_arrays(columns, schema=schema)))
        assert item.poison == ("bad_value" if len(rows) > 1 else "")


def _raw(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.int32() if pa.types.is_date(kind) else kind


# -- what one message can cause ------------------------------------------------------------------------------


def outputs_of(step: Step) -> Counter[str]:
    """Rows of visits and minutes, messages and entries of state that a step comes to."""
    counts = Counter({name: step.counts[name] for name in ("visits", "withdrawn_visits", "store_minutes")})
    counts["messages"] = sum(map(len, step.outputs.values()))
    counts["state"] = sum(map(len, step.state.values()))
    return counts


def sightings_over(times_ms: np.ndarray[Any, np.dtype[np.int64]], devices: int, seq: int = 0) -> bytes:
    """A batch of one sighting at each instant, of so many devices in turn."""
    count = len(times_ms)
    columns = [
        pa.array(np.arange(count, dtype=np.uint64) % devices),
        pa.array(times_ms, pa.int64()).cast(TIMESTAMP),
        *(
            pa.array(np.full(count, value), field.type)
            for value, field in zip((0, -50, 1, 0, 1, 1), list(SIGHTINGS)[2:], strict=True)
        ),
    ]
    header = replace(HEADER, batch_seq=seq)
    return encode_sightings(header, pa.RecordBatch.from_arrays(columns, schema=SIGHTINGS))


MOST_ROWS = 41_000
"""As many as fit into the longest value that is read."""
SPREADS: dict[str, Callable[[], bytes]] = {
    "over all years since 2000, a device each": lambda: sightings_over(
        np.linspace(EARLIEST_MS, NOW_MS, MOST_ROWS).astype(np.int64), MOST_ROWS
    ),
    "over all years since 2000, one device": lambda: sightings_over(
        np.linspace(EARLIEST_MS, NOW_MS, MOST_ROWS).astype(np.int64), 1
    ),
    "one device without a silence longer than the gap": lambda: sightings_over(
        NOW_MS - np.arange(MOST_ROWS, dtype=np.int64) * 899_000, 1
    ),
    "all in one instant": lambda: sightings_over(np.full(MOST_ROWS, NOW_MS), MOST_ROWS),
}


@pytest.mark.parametrize("make", SPREADS.values(), ids=SPREADS)
def test_the_worst_batch_that_is_read_causes_no_more_than_its_rows_can_fill(make: Callable[[], bytes]) -> None:
    value = make()
    assert MAX_SIGHTINGS_BYTES * 0.9 < len(value) <= MAX_SIGHTINGS_BYTES
    job = StoreJob(chain(), lambda key: 0)
    tracemalloc.start()
    try:
        step = job.take([message(value)])
        final = job.take([message(encode_sightings(replace(HEADER, batch_seq=1, final=True), empty()), 1)])
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert not any(output.topic == DEAD_LETTERS.name for output in step.outputs[0])
    total = outputs_of(step) + outputs_of(final)
    assert total["visits"] + total["withdrawn_visits"] <= MOST_ROWS
    # A sighting fills at most the gap in front of it, 15 minutes, and the minute it ends in.
    assert total["store_minutes"] <= 17 * MOST_ROWS
    assert total["state"] <= 8 * MOST_ROWS
    assert peak_mb < 400, f"{peak_mb:.0f} MB"


def empty() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=SIGHTINGS)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_messages_among_good_ones_change_nothing_but_the_dead_letters(seed: int) -> None:
    rng = Random(seed)
    good = [one.value() for one in world(rng)]
    log: list[bytes] = []
    for value in good:
        bad = [damage(value, rng.randrange(10**9)) for _ in range(rng.randrange(3))]
        # What is still a batch would count for one.
        log += [*(one for one in bad if isinstance(read(late(one)), str)), value]
    tables = run([late(value, offset) for offset, value in enumerate(log)])
    wanted = run([late(value, offset) for offset, value in enumerate(good)])
    assert tables.visits(version=False) == wanted.visits(version=False)
    assert tables.minutes(version=False) == wanted.minutes(version=False)
    assert len(tables.dead) == len(log) - len(good) > 0


def late(value: bytes, offset: int = 0) -> Message:
    """A message that arrives after every sensor's clock."""
    return Message(0, offset, b"s", value, 2**42)


# -- clocks ------------------------------------------------------------------------------------------------


@st.composite
def wild_clocks(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Clocks of one sensor, each with the broker's clock at its arrival."""
    wild = st.integers(0, 2**42 - 1) | st.sampled_from([0, EARLIEST_MS - 1, EARLIEST_MS, 2**42 - 1])
    near = st.integers(-2 * DAY_MS, 2 * DAY_MS).map(lambda off: NOW_MS + off)
    count = draw(st.integers(1, 12))
    return [(draw(wild | near), START_MS + number * 240_000) for number in range(count)]


def beats(sensor: str, minutes: int) -> list[SentBatch]:
    """A batch a minute with one device that stays, and one that passes each time."""
    batches = []
    for number in range(minutes):
        clock = START_MS + number * 60_000
        seen = (Sighting(sensor, 1, clock, 0, -50), Sighting(sensor, 100 + number, clock, 0, -80))
        batches.append(SentBatch(sensor, number, clock, seen))
    return batches


@given(wild_clocks())
@settings(deadline=None, max_examples=25)
def test_no_sensor_whose_clock_is_wild_drags_the_store_or_fills_it_with_minutes(wild: list[tuple[int, int]]) -> None:
    sound = [(batch, batch.clock_ms) for batch in beats("b", MINUTES)]
    odd = [(SentBatch("a", seq, clock, ()), arrival) for seq, (clock, arrival) in enumerate(wild)]
    arrivals = sorted(sound + odd, key=lambda pair: pair[1])
    log = [
        replace(one, appended_ms=arrival)
        for one, (_, arrival) in zip(messages(batch for batch, _ in arrivals), arrivals, strict=True)
    ]
    job, tables, total = StoreJob(chain(), lambda key: 0), Tables(), Counter[str]()
    for one in log:
        step = job.take([one])
        tables.add(step)
        total += outputs_of(step)
        newest = max(
            batch.clock_ms for batch, arrival in arrivals if arrival <= one.appended_ms and batch.sensor == "b"
        )
        # 120 s ahead of the broker, 30 s of allowed lateness; a clock that far behind is not live any more.
        assert newest - 330_000 <= job.watermarks().get("s", newest) <= newest + 90_000
    final = SentBatch("b", 10**6, START_MS + MINUTES * 60_000, (), final=True)
    tables.add(job.take([replace(messages([final])[0], offset=len(log))]))
    wanted = run(messages([*(batch for batch, _ in sound), final]))
    assert tables.visits(version=False) == wanted.visits(version=False)
    minutes = {row["minute"]: row for row in tables.minutes(version=False)}
    for row in wanted.minutes(version=False):
        assert {**minutes[row["minute"]], "sensors_live": row["sensors_live"]} == row
    assert len(minutes) <= len(wanted.minutes()) + len(wild)
    assert total["store_minutes"] <= 3 * len(wanted.minutes()) + 2 * len(wild)


CLOCKS = {
    "1970": (0, "clock_not_set"),
    "a millisecond before 2000": (EARLIEST_MS - 1, "clock_not_set"),
    "two minutes and a millisecond ahead": (NOW_MS + 120_001, "clock_ahead"),
    "a day ahead": (NOW_MS + DAY_MS, "clock_ahead"),
    "2109": (2**42 - 1, "clock_ahead"),
    "two minutes ahead": (NOW_MS + 120_000, ""),
    "2000": (EARLIEST_MS, ""),
}


@pytest.mark.parametrize(("clock_ms", "reason"), CLOCKS.values(), ids=CLOCKS)
def test_a_clock_is_judged_against_the_brokers(clock_ms: int, reason: str) -> None:
    assert judged(encode_sightings(replace(HEADER, sensor_clock_ms=clock_ms), empty())) == reason


def test_the_longest_value_is_read_and_a_byte_more_is_not() -> None:
    header, _ = decode_sightings(SPREADS["all in one instant"]())
    assert header.store_id == "s"
    with pytest.raises(PoisonEvent, match="oversized"):
        decode_sightings(bytes(MAX_SIGHTINGS_BYTES + 1))
