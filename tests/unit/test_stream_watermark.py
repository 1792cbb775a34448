"""A store's event time: the lowest live clock less the lateness, never back; a batch is taken once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from itertools import permutations, product
from typing import Any

import pytest
from footfall_events.sighting_batches import BatchHeader
from footfall_events.stores import StoreConfig, parse_chain
from footfall_streams.watermark import MINUTE_MS, ROW_LEAD_MS, Boot, StoreClock
from hypothesis import given, settings
from hypothesis import strategies as st

START_MS = 1_767_571_200_000
HOUR_MS = 3_600_000
LATENESS_MS, STALE_MS, HORIZON_MS = 30_000, 300_000, 2 * HOUR_MS
SENSORS = ("a", "b", "c")
unhurried = settings(deadline=None)


def config(**changes: Any) -> StoreConfig:
    store = {"id": "s", "sensors": list(SENSORS), "revision_horizon_s": HORIZON_MS // 1000, **changes}
    return parse_chain({"stores": [store]}).stores["s"]


def header(
    sensor: str, clock_ms: int, seq: int | None = None, *, boot: str = "boot", final: bool = False
) -> BatchHeader:
    """A batch whose clock is that many ms after the start; its sequence number follows from the clock if not given."""
    return BatchHeader("s", sensor, boot, clock_ms if seq is None else seq, START_MS + clock_ms, 0, "test", final)


def watermarks(beats: Sequence[tuple[str, int]], clock: StoreClock | None = None) -> list[int]:
    """The watermark after each (sensor, clock), ms after the start."""
    clock = StoreClock(config()) if clock is None else clock
    found = []
    for seq, (sensor, clock_ms) in enumerate(beats):
        assert clock.take(header(sensor, clock_ms, seq))
        found.append(clock.watermark_ms - START_MS)
    return found


# -- batches taken -----------------------------------------------------------------------------------------


def _check_intervals(boot: Boot, taken: set[int]) -> None:
    assert {seq for first, last in boot.taken for seq in range(first, last + 1)} == taken
    assert all(first <= last for first, last in boot.taken)
    # Neighbours that touch are one interval, so that a boot without a loss stays one however long it runs.
    assert all(left[1] + 1 < right[0] for left, right in zip(boot.taken, boot.taken[1:], strict=False))


@pytest.mark.parametrize(
    "sequences",
    [
        pytest.param([0, 1, 2, 3, 4, 5], id="none lost"),
        pytest.param([0, 1, 3, 4, 7, 8], id="two holes"),
        pytest.param([0, 2, 4, 6, 8], id="every other one lost"),
        pytest.param([5, 6, 6, 7, 5], id="two of them twice"),
        pytest.param([0, 2**62 - 1, 2**62 - 2, 1], id="the largest"),
    ],
)
def test_in_every_order_of_arrival_each_sequence_number_is_taken_once(sequences: list[int]) -> None:
    for arrival in set(permutations(sequences)):
        boot, taken = Boot(0), set[int]()
        for seq in arrival:
            assert boot.take(seq) == (seq not in taken), f"arrival order {arrival}"
            taken.add(seq)
            if max(taken) < 100:
                _check_intervals(boot, taken)


@unhurried
@given(st.lists(st.integers(0, 40), max_size=80))
def test_the_intervals_are_a_plain_set_of_the_numbers_taken(arrival: list[int]) -> None:
    boot, taken = Boot(0), set[int]()
    for seq in arrival:
        assert boot.take(seq) == (seq not in taken)
        taken.add(seq)
        _check_intervals(boot, taken)


def test_a_boot_whose_numbers_all_came_is_one_interval() -> None:
    boot = Boot(0)
    for seq in [*range(0, 1000, 2), *range(1, 1000, 2)]:
        boot.take(seq)
    assert boot.taken == [[0, 999]]


def test_sensors_and_boots_count_their_batches_apart() -> None:
    clock = StoreClock(config())
    for sensor, boot in product(SENSORS, ("one", "two")):
        assert clock.take(header(sensor, 0, 7, boot=boot))
        assert not clock.take(header(sensor, 1, 7, boot=boot))


def test_a_batch_taken_before_moves_nothing() -> None:
    clock = StoreClock(config())
    clock.take(header("a", 0, 0))
    before = json.dumps(clock.to_state())
    assert not clock.take(header("a", HOUR_MS, 0, final=True))
    assert json.dumps(clock.to_state()) == before


# -- the watermark -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beats", "marks"),
    [
        pytest.param([("a", 0), ("a", 60_000)], [-30_000, 30_000], id="one sensor: its clock less the lateness"),
        pytest.param([("a", 60_000), ("a", 0)], [30_000, 30_000], id="a clock that goes back does not count"),
        pytest.param(
            [("a", 0), ("b", 0), ("a", 60_000), ("b", 40_000)],
            [-30_000, -30_000, -30_000, 10_000],
            id="two sensors: the lower clock",
        ),
        pytest.param(
            [("a", 60_000), ("b", 0), ("b", 50_000)],
            [30_000, 30_000, 30_000],
            id="a sensor that joins behind the watermark does not take it back",
        ),
        pytest.param(
            [("a", 0), ("b", 0), ("a", STALE_MS), ("a", STALE_MS + 1)],
            [-30_000, -30_000, -30_000, STALE_MS + 1 - LATENESS_MS],
            id="a sensor as far behind as allowed counts, a millisecond more and it is stale",
        ),
        pytest.param(
            [("a", 0), ("b", 0), ("a", 400_000), ("b", 200_000), ("a", 460_000), ("b", 450_000)],
            [-30_000, -30_000, 370_000, 370_000, 370_000, 420_000],
            id="a stale sensor comes back and holds the watermark again",
        ),
        pytest.param(
            [("a", 0), ("b", 600_000), ("c", 580_000), ("a", 1_000)],
            [-30_000, 570_000, 570_000, 570_000],
            id="the newest clock decides who is stale, wherever it comes from",
        ),
        pytest.param(
            [("a", 0), ("a", 8 * HOUR_MS)], [-30_000, 8 * HOUR_MS - 30_000], id="a dark store goes on where it wakes up"
        ),
    ],
)
def test_the_watermark_is_the_lowest_live_clock_less_the_lateness(
    beats: list[tuple[str, int]], marks: list[int]
) -> None:
    assert watermarks(beats) == marks


@unhurried
@given(st.lists(st.tuples(st.sampled_from(SENSORS), st.integers(0, 20).map(lambda n: n * 50_000)), max_size=40))
def test_the_watermark_never_goes_back_and_is_the_highest_bound_so_far(beats: list[tuple[str, int]]) -> None:
    newest: dict[str, int] = {}
    highest = -START_MS
    for beat, mark in zip(beats, watermarks(beats), strict=True):
        newest[beat[0]] = max(newest.get(beat[0], 0), beat[1])
        live = [clock for clock in newest.values() if clock >= max(newest.values()) - STALE_MS]
        highest = max(highest, min(live) - LATENESS_MS)
        assert mark == highest


def test_lateness_and_staleness_are_the_stores_own() -> None:
    patient = StoreClock(config(allowed_lateness_s=90, stale_after_s=1000))
    assert watermarks([("a", 0), ("b", 0), ("b", 999_000), ("a", 500_000)], patient) == [
        -90_000,
        -90_000,
        -90_000,
        410_000,
    ]


@pytest.mark.parametrize(
    ("changes", "gap_ms"),
    [
        pytest.param({}, 900_000, id="the gap of the rule"),
        pytest.param({"rule": "meraki"}, 120_000, id="of a shorter rule"),
        pytest.param(
            {"rule": "meraki", "changes": [{"valid_from": date(2026, 3, 1), "rule": "retail"}]},
            900_000,
            id="the longest of all versions",
        ),
    ],
)
def test_a_final_batch_goes_past_every_gap_and_every_minute(changes: dict[str, Any], gap_ms: int) -> None:
    clock = StoreClock(config(**changes))
    clock.take(header("a", 100_000))
    clock.take(header("b", 0))
    clock.take(header("b", 60_000, final=True))
    assert clock.watermark_ms - START_MS == 100_000 + gap_ms + MINUTE_MS + 1


def test_a_minute_is_due_when_the_watermark_has_entered_another_than_the_published_one() -> None:
    clock = StoreClock(config(allowed_lateness_s=0))
    due = []
    for clock_ms in (0, MINUTE_MS - 1, MINUTE_MS, 10 * MINUTE_MS):
        clock.take(header("a", clock_ms))
        due.append(clock.minute_is_due)
        clock.published_ms = clock.watermark_ms
    assert due == [True, False, True, True]


# -- what is remembered ------------------------------------------------------------------------------------


def test_a_boot_is_forgotten_only_when_no_row_of_its_batches_can_be_within_the_horizon() -> None:
    clock = StoreClock(config())
    clock.take(header("a", 0, boot="first"))
    clock.take(header("a", 0, boot="third"))
    clock.take(header("a", 1, boot="second"))
    clock.take(header("a", LATENESS_MS + HORIZON_MS + ROW_LEAD_MS, boot="third"))
    assert clock.horizon_ms == START_MS + ROW_LEAD_MS
    clock.forget()
    assert set(clock.boots) == {"a/first", "a/second", "a/third"}
    clock.take(header("a", LATENESS_MS + HORIZON_MS + ROW_LEAD_MS + 1, boot="third"))
    clock.forget()
    assert set(clock.boots) == {"a/second", "a/third"}


def test_a_batch_of_a_boot_that_is_remembered_is_still_recognised() -> None:
    clock = StoreClock(config())
    clock.take(header("a", 0, 5, boot="old"))
    clock.take(header("b", HORIZON_MS, boot="new"))
    clock.forget()
    assert not clock.take(header("a", 0, 5, boot="old"))
    assert clock.take(header("a", 0, 4, boot="old"))


def test_forgetting_takes_nothing_from_the_watermark_or_the_sensors() -> None:
    clock = StoreClock(config())
    clock.take(header("a", 0, boot="old"))
    clock.take(header("b", HORIZON_MS + HOUR_MS))
    before = (clock.watermark_ms, dict(clock.sensors))
    clock.forget()
    assert set(clock.boots) == {"b/boot"}
    assert (clock.watermark_ms, clock.sensors) == before


@unhurried
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SENSORS),
            st.sampled_from(["one", "two"]),
            st.integers(0, 12),
            st.integers(0, 60),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_a_clock_restored_from_json_goes_on_as_the_one_that_was_saved(
    batches: list[tuple[str, str, int, int, bool]], cut: int
) -> None:
    kept = restored = StoreClock(config())
    for number, (sensor, boot, seq, minutes, final) in enumerate(batches):
        if number == cut:
            kept.published_ms = max(kept.watermark_ms - MINUTE_MS, 0)
            restored = StoreClock.from_state(config(), json.loads(json.dumps(kept.to_state())))
            assert restored == kept
        one = header(sensor, minutes * MINUTE_MS, seq, boot=boot, final=final)
        clocks = [kept] if restored is kept else [kept, restored]
        assert len({clock.take(one) for clock in clocks}) == 1
        assert restored == kept
