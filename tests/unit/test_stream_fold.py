"""One step by hand: what is refused and why, what stamps a row, and what a late batch may still change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from footfall_events.errors import ConfigError
from footfall_events.rows import decode_rows, encode_rows
from footfall_events.schemas import SIGHTINGS, STORE_MINUTES, TIMESTAMP, VISITS
from footfall_events.sighting_batches import BatchHeader, decode_sightings, encode_sightings
from footfall_events.stores import MAX_SENSORS, parse_chain
from footfall_events.topics import DEAD_LETTERS
from footfall_events.topics import STORE_MINUTES as STORE_MINUTES_TOPIC
from footfall_events.topics import VISITS as VISITS_TOPIC
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.state import read_segment, write_json
from footfall_streams.step import Output, Step

NOON = 1_767_614_400_000  # 2026-01-05 12:00 UTC
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LEAD_MS = 120_000
PARTITIONS = {b"s": 0, b"t": 1}
STORE = {"id": "s", "sensors": ["a", "b", "c", "d"], "allowed_lateness_s": 0, "revision_horizon_s": 3600}


class Burst(NamedTuple):
    """One sighting, `at` seconds after noon."""

    at: float
    rssi: int | None = -50
    device: int | None = 1
    span_ms: int = 0
    address_class: int = 1


def header(sensor: str, seq: int, at: float, **changes: Any) -> BatchHeader:
    return replace(BatchHeader("s", sensor, "boot", seq, NOON + round(at * 1000), 7, "test"), **changes)


def batch(*bursts: Burst) -> pa.RecordBatch:
    columns = {
        "device_id": [one.device for one in bursts],
        "observed_at": pa.array([NOON + round(one.at * 1000) for one in bursts], pa.int64()).cast(TIMESTAMP),
        "span_ms": [one.span_ms for one in bursts],
        "rssi_dbm": [one.rssi for one in bursts],
        "frames": [1] * len(bursts),
        "freq_mhz": [2412] * len(bursts),
        "address_class": [one.address_class for one in bursts],
        "frame_kinds": [1] * len(bursts),
    }
    return pa.RecordBatch.from_pydict(columns, SIGHTINGS)


def value(sensor: str, seq: int, at: float, *bursts: Burst, **changes: Any) -> bytes:
    return encode_sightings(header(sensor, seq, at, **changes), batch(*bursts))


def message(content: bytes, offset: int = 0, **changes: Any) -> Message:
    return replace(Message(0, offset, b"s", content, NOON + 100 * HOUR_MS), **changes)


def log(*values: bytes) -> list[Message]:
    return [message(content, offset) for offset, content in enumerate(values)]


def job(**changes: Any) -> StoreJob:
    stores = [{**STORE, **changes}, {"id": "t", "sensors": ["a"]}]
    return StoreJob(parse_chain({"stores": stores}), lambda key: PARTITIONS[key])


def outputs(step: Step, topic: str) -> list[Output]:
    return [output for sent in step.outputs.values() for output in sent if output.topic == topic]


def visits(*steps: Step) -> list[tuple[float, float, int, int]]:
    """First and last seen in seconds after noon, version and whether withdrawn, in the order sent."""
    values = [output.value for step in steps for output in outputs(step, VISITS_TOPIC.name)]
    rows = [row for sent in values for row in decode_rows(sent, VISITS).to_pylist()]
    return [(_s(row["first_seen_at"]), _s(row["last_seen_at"]), row["version"], row["deleted"]) for row in rows]


MINUTE = ("sensors_live", "present", "entries", "exits", "passers_by", "is_final")


def minutes(*steps: Step) -> dict[int, tuple[int, ...]]:
    """The newest row of each minute, by its number after noon: the columns of MINUTE."""
    values = [output.value for step in steps for output in outputs(step, STORE_MINUTES_TOPIC.name)]
    rows = [row for sent in values for row in decode_rows(sent, STORE_MINUTES).to_pylist()]
    return {int(_s(row["minute"]) // 60): tuple(row[name] for name in MINUTE) for row in rows}


def _s(at: Any) -> float:
    seconds: float = round(at.timestamp() * 1000 - NOON) / 1000
    return seconds


# -- refused whole -----------------------------------------------------------------------------------------

GOOD = value("a", 0, 0, Burst(0))
REFUSED = [
    pytest.param("not_arrow", message(b"not a batch"), id="bytes that are no batch"),
    pytest.param("not_arrow", message(b""), id="no bytes"),
    pytest.param("bad_header", message(encode_rows(batch(Burst(0)))), id="no header"),
    pytest.param(
        "unknown_store", message(value("a", 0, 0, store_id="elsewhere"), key=b"elsewhere"), id="no such store"
    ),
    pytest.param("wrong_key", message(GOOD, key=b"t"), id="another store's key"),
    pytest.param("wrong_key", message(GOOD, key=None), id="no key"),
    pytest.param("wrong_partition", message(GOOD, partition=1), id="another store's partition"),
    pytest.param("unknown_sensor", message(value("e", 0, 0)), id="no such sensor in the store"),
    pytest.param(
        "clock_ahead",
        message(value("a", 0, LEAD_MS / 1000 + 0.001), appended_ms=NOON),
        id="a clock a millisecond too far ahead of the broker's",
    ),
    pytest.param(
        "rows_ahead_of_clock", message(value("a", 0, 0, Burst(15.001))), id="a row too far ahead of its clock"
    ),
    pytest.param("rows_ahead_of_clock", message(value("a", 0, 0, Burst(-2e9))), id="a row before 1970"),
    pytest.param("unstable_address", message(value("a", 0, 0, Burst(0, address_class=3))), id="a random address"),
    pytest.param(
        "unstable_address", message(value("a", 0, 0, Burst(0), Burst(0, address_class=0))), id="no known class"
    ),
    pytest.param("invalid_batch", message(value("a", 0, 0, Burst(0), Burst(0, device=None))), id="a null for a device"),
    pytest.param("span_too_long", message(value("a", 0, 0, Burst(0), Burst(0, span_ms=10_001))), id="a burst too long"),
]


@pytest.mark.parametrize(("reason", "bad"), REFUSED)
def test_a_refused_message_is_dead_lettered_with_its_bytes_and_the_rest_goes_on(reason: str, bad: Message) -> None:
    bad = replace(bad, offset=1)
    one = job()
    step = one.take([message(GOOD), bad, message(value("a", 1, 5000), 2)])
    (letter,) = outputs(step, DEAD_LETTERS.name)
    assert (letter.value, letter.key) == (bad.value, bad.key)
    assert letter in step.outputs[bad.partition]
    assert dict(letter.headers) == {
        "reason": reason.encode(),
        "topic": b"sightings.v1",
        "partition": str(bad.partition).encode(),
        "offset": b"1",
    }
    assert {name: count for name, count in step.counts.items() if name.startswith("dead")} == {
        f"dead_letters/{reason}": 1
    }
    assert visits(step) == [(0, 0, 2, 0)]
    assert one.watermarks() == {"s": NOON + 5_000_000}


ACCEPTED = [
    pytest.param(message(value("a", 0, LEAD_MS / 1000), appended_ms=NOON), id="a clock exactly the lead ahead"),
    pytest.param(message(value("a", 0, 0, Burst(15))), id="a row exactly the lead ahead of its clock"),
    pytest.param(message(value("a", 0, 0, Burst(0, span_ms=10_000))), id="a burst of exactly the longest"),
    pytest.param(message(value("a", 0, 0, Burst(0, address_class=2))), id="an associated address"),
    pytest.param(message(value("a", 0, 0)), id="no rows"),
]


@pytest.mark.parametrize("good", ACCEPTED)
def test_what_is_just_inside_the_limits_is_taken(good: Message) -> None:
    step = job().take([good])
    assert (outputs(step, DEAD_LETTERS.name), step.counts["batches"]) == ([], 1)


def test_a_refused_batch_may_come_again_repaired() -> None:
    one = job()
    one.take([message(value("a", 0, 0, Burst(0, address_class=3)))])
    assert one.take([message(GOOD, 1)]).counts["sightings"] == 1


# -- refused in part ---------------------------------------------------------------------------------------


def test_rows_beyond_the_horizon_are_dead_lettered_as_a_batch_of_their_own() -> None:
    rows = [Burst(3599.999), Burst(3600), Burst(-5, None), Burst(7200)]
    late = value("b", 4, 7200, *rows)
    one = job()
    one.take(log(value("a", 0, 7200)))
    step = one.take([message(late, 1)])
    (letter,) = outputs(step, DEAD_LETTERS.name)
    found, kept = decode_sightings(letter.value)
    assert found == header("b", 4, 7200)
    assert kept.to_pylist() == batch(rows[0], rows[2]).to_pylist()
    assert dict(letter.headers)["reason"] == b"beyond_horizon"
    assert {k: v for k, v in step.counts.items() if k.startswith(("dead", "drop", "late", "sight"))} == {
        "sightings": 4,
        "late_sightings": 3,
        "dropped_sightings/beyond_horizon": 2,
        "dropped_sightings/too_weak": 0,
        "dead_letters/beyond_horizon": 1,
    }
    assert [part["first"].tolist() for part in one.presences.parts()] == [[NOON + 7_200_000], [NOON + 3_600_000]]


def test_too_weak_and_unknown_signals_are_counted_and_make_no_presence() -> None:
    one = job()
    step = one.take(log(value("a", 0, 0, Burst(0, -91), Burst(1, None), Burst(2, -90))))
    assert step.counts["dropped_sightings/too_weak"] == 2
    assert one.presences.rows["sightings"].tolist() == [1]


def test_a_batch_taken_before_is_counted_and_dropped() -> None:
    one = job()
    step = one.take(log(GOOD, GOOD, value("a", 0, 0, Burst(0), boot_id="next")))
    assert (step.counts["batches"], step.counts["duplicate_batches"], step.counts["sightings"]) == (2, 1, 2)


def test_a_chunk_of_nothing_new_changes_nothing() -> None:
    one = job()
    one.take(log(GOOD))
    step = one.take([message(GOOD, 1), message(b"", 2)])
    assert (dict(step.state), [output.topic for output in step.outputs[0]]) == ({}, [DEAD_LETTERS.name])
    assert not job().take([]).outputs


# -- what is sent ------------------------------------------------------------------------------------------


def test_a_version_is_the_log_epoch_and_the_offset_of_the_last_message_that_touched_the_row() -> None:
    one = job()
    one.restore(0, 3, {})
    beats = [value("a", 2 + n, clock) for n, clock in enumerate((965, 990, 1000, 1000.001, 1019, 5000))]
    step = one.take(log(GOOD, value("a", 1, 100, Burst(100)), *beats))
    # Closed by the message at offset 5, whose clock is the first past the gap.
    assert visits(step) == [(0, 100, 3 << 48 | 5, 0)]


def test_a_late_sighting_stamps_the_visit_that_it_changes() -> None:
    one = job()
    late = [value("a", 1, 5000), value("b", 0, 5000), value("b", 1, 5000, Burst(1500, -80, span_ms=5), Burst(2300))]
    step = one.take(log(value("a", 0, 1400, Burst(1400)), *late))
    assert visits(step) == [(1400, 2300, 3, 0)]


WITHDRAWN = [
    pytest.param(Burst(3000), [(2100, 2100, 3, 1)], id="reopened: it is open again"),
    pytest.param(Burst(1950), [(1950, 2100, 3, 0), (2100, 2100, 3, 1)], id="it started earlier"),
    pytest.param(Burst(1500), [(1000, 2100, 3, 0), (2100, 2100, 3, 1)], id="joined: the first keeps its name"),
    pytest.param(Burst(900), [(900, 1000, 3, 0), (1000, 1000, 3, 1)], id="the first started earlier"),
]


@pytest.mark.parametrize(("late", "sent"), WITHDRAWN)
def test_a_visit_that_is_no_more_is_withdrawn_in_the_step_that_ends_it(
    late: Burst, sent: list[tuple[float, float, int, int]]
) -> None:
    one = job()
    first = one.take(log(value("a", 0, 1000, Burst(1000)), value("a", 1, 2100, Burst(2100)), value("a", 2, 3600)))
    assert visits(first) == [(1000, 1000, 1, 0), (2100, 2100, 2, 0)]
    assert sorted(visits(one.take([message(value("b", 0, 3600, late), 3)]))) == sent


def test_a_withdrawn_row_has_the_columns_it_stood_with() -> None:
    one = job()
    first = one.take(log(value("a", 0, 0, Burst(0)), value("a", 1, 1000)))
    second = one.take([message(value("b", 0, 1000, Burst(900, -40, address_class=2, span_ms=500)), 2)])
    (stood,), (gone,) = (
        decode_rows(output.value, VISITS).to_pylist()
        for step in (first, second)
        for output in outputs(step, VISITS_TOPIC.name)
    )
    assert gone == {**stood, "version": 2, "deleted": 1}


def test_a_passer_by_has_no_time_inside() -> None:
    step = job().take(log(value("a", 0, 0, Burst(0, -80)), value("a", 1, 5000)))
    (row,) = decode_rows(outputs(step, VISITS_TOPIC.name)[0].value, VISITS).to_pylist()
    assert (row["role"], row["entered_at"], row["left_at"], row["dwell_s"]) == (1, None, None, None)


def test_many_rows_are_split_into_messages_of_two_thousand() -> None:
    bursts = [Burst(0, device=device) for device in range(4500)]
    step = job().take(log(value("a", 0, 0, *bursts), value("a", 1, 5000)))
    sizes = [decode_rows(output.value, VISITS).num_rows for output in outputs(step, VISITS_TOPIC.name)]
    assert sizes == [2000, 2000, 500]
    assert len(visits(step)) == step.counts["visits"] == 4500


def test_rows_and_state_go_to_the_partition_of_their_store() -> None:
    other = [value("a", 0, 0, Burst(0), store_id="t"), value("a", 1, 5000, store_id="t")]
    elsewhere = [message(content, offset, partition=1, key=b"t") for offset, content in enumerate(other)]
    mine = log(GOOD, value("a", 1, 5000))
    step = job().take([mine[0], *elsewhere, mine[1]])
    for partition, store in ((0, b"s"), (1, b"t")):
        assert {output.key for output in step.outputs[partition]} == {store}
        assert set(step.state[partition]) == {b"clock/" + store, b"presences/1", b"minutes/1"}
        assert set(read_segment(step.state[partition][b"presences/1"] or b"")["store_id"].to_pylist()) == {
            store.decode()
        }
        assert visits(Step({0: step.outputs[partition]})) == [(0, 0, 1, 0)]


# -- minutes -----------------------------------------------------------------------------------------------


def test_minutes_count_sensors_people_and_passers_by() -> None:
    values = [
        value("a", 0, 30, Burst(10), Burst(20, -80, device=2)),
        value("b", 0, 59.999, Burst(59.999, -80, device=3)),
        value("a", 1, 60, Burst(60)),
        value("b", 1, 130),
        value("a", 2, 5000, final=True),
    ]
    wanted = {
        0: (2, 1, 1, 0, 2, 1),
        1: (1, 0, 0, 1, 0, 1),
        2: (1, 0, 0, 0, 0, 1),
        83: (1, 0, 0, 0, 0, 1),
    }
    assert minutes(job().take(log(*values))) == wanted


def test_a_final_batch_publishes_what_came_since_the_watermark_entered_its_minute() -> None:
    one = job()
    step = one.take(log(value("a", 0, 0), value("a", 1, 100, final=True), value("b", 0, 50, Burst(50, -80))))
    assert minutes(step) == {0: (1, 0, 0, 0, 0, 1), 1: (1, 0, 0, 0, 0, 1)}
    # A second replay ends: its clock is no newer, and nothing will come after it.
    assert minutes(one.take([message(value("b", 1, 60, final=True), 3)])) == {
        0: (2, 0, 0, 0, 1, 1),
        1: (2, 0, 0, 0, 0, 1),
    }


def test_a_batch_that_is_days_late_leaves_the_minutes_that_are_forgotten() -> None:
    one = job()
    day = 24 * 3600
    before = one.take(log(value("a", 0, 30, Burst(10)), value("a", 1, 3 * day), value("a", 2, 3 * day + 60)))
    assert minutes(before)[0] == (1, 0, 1, 1, 0, 1)
    late = one.take([message(value("b", 0, 40, Burst(41)), 3), message(value("a", 3, 3 * day + 120), 4)])
    assert 0 not in minutes(late)
    assert late.counts["dead_letters/beyond_horizon"] == 1


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_batch_beyond_the_horizon_counts_for_nothing_whether_its_boot_is_forgotten_or_not(cut: int) -> None:
    values = [value("a", 0, 0, final=True), value("b", 0, 8000, Burst(8000)), value("a", 0, 0, final=True)]
    one = job()
    whole = [*log(*values), message(value("b", 1, 8001), 3)]
    steps = [one.take(whole[:cut]), one.take(whole[cut:])]
    # If the old final batch counted again it would close the visit that is open.
    assert one.watermarks() == {"s": NOON + 8_001_000}
    assert visits(*steps) == []


def test_a_store_may_have_had_sixty_four_sensors_and_no_more() -> None:
    sensors = {f"old{number}": NOON for number in range(MAX_SENSORS)}
    clock = {"watermark_ms": 0, "published_ms": 0, "sensors": sensors, "boots": {}}
    one = job()
    one.restore(0, 0, {b"clock/s": write_json(clock)})
    with pytest.raises(ConfigError, match="more than 64 sensors"):
        one.take(log(GOOD))
    del sensors["old0"]
    one.restore(0, 0, {b"clock/s": write_json(clock)})
    assert one.take(log(GOOD)).counts["batches"] == 1


# -- state -------------------------------------------------------------------------------------------------


def test_a_step_writes_what_it_changed_and_marks_what_is_gone() -> None:
    one = job()
    first = one.take(log(value("a", 0, 3610, Burst(3610))))
    assert set(first.state[0]) == {b"clock/s", b"presences/1", b"minutes/1"}
    # An earlier sighting moves the presence.
    second = one.take([message(value("b", 0, 3610, Burst(3590)), 1)])
    rows = read_segment(second.state[0][b"presences/2"] or b"")
    began = [(first_ms - NOON) // 1000 for first_ms in rows["first"].to_pylist()]
    assert list(zip(rows["gone"].to_pylist(), began, strict=True)) == [(True, 3610), (False, 3590)]


def test_a_step_does_not_write_what_it_did_not_change() -> None:
    one = job()
    one.take(log(value("a", 0, 0, Burst(0, device=1), Burst(0, device=2))))
    step = one.take([message(value("a", 1, 5, Burst(4, device=2)), 1)])
    assert read_segment(step.state[0][b"presences/2"] or b"")["device"].to_pylist() == [2]


@pytest.mark.parametrize("apart", [False, True])
def test_a_gap_that_was_made_longer_reaches_back_to_what_was_open_in_any_chunking(*, apart: bool) -> None:
    before = job(rule={"name": "short", "gap_s": 60}).take(log(value("a", 0, 0, Burst(0))))
    one = job(rule={"name": "long", "gap_s": 900})
    one.restore(0, 0, before.state[0])
    # The first closes it as it was, and is not past the longer gap.
    more = [message(value("a", 1, 100), 1), message(value("a", 2, 300, Burst(300)), 2)]
    for chunk in [more[:1], more[1:]] if apart else [more]:
        one.take(chunk)
    one.take([message(value("a", 3, 300, final=True), 3)])
    (rows,) = (part for part in one.presences.parts() if len(part))
    assert rows["sightings"].tolist() == [2]


def test_state_of_a_store_that_left_the_configuration_is_left_alone() -> None:
    one = job()
    one.restore(0, 0, {b"clock/gone": b"?", b"presences/gone/1": b"\x01", b"other/s": b"?", b"clock/s": None})
    assert (one.watermarks(), len(one.presences)) == ({}, 0)
    assert set(one.take(log(GOOD)).state[0]) == {b"clock/s", b"presences/1", b"minutes/1"}


def test_what_is_released_is_forgotten() -> None:
    one = job()
    one.take(log(GOOD))
    one.release_all()
    assert (one.watermarks(), len(one.presences), len(one.minutes.rows)) == ({}, 0, 0)
    assert one.take(log(GOOD)).counts["duplicate_batches"] == 0


def test_a_clock_is_written_as_json_that_names_what_it_has_seen() -> None:
    step = job().take(log(GOOD, value("b", 5, 1)))
    written = json.loads(step.state[0][b"clock/s"] or b"")
    assert written["sensors"] == {"a": NOON, "b": NOON + 1000}
    assert written["boots"] == {"a/boot": [NOON, [[0, 0]]], "b/boot": [NOON + 1000, [[5, 5]]]}
