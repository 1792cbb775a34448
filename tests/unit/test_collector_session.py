"""A sensor's run by event time: when batches leave, what their clocks promise, how they are cut."""

from __future__ import annotations

from random import Random

import pyarrow as pa
import pytest
from footfall_collectors.session import Batching, Output
from footfall_streams.watermark import ROW_LEAD_MS

from tests.unit.collector_runs import blocks_of, pcap, probe, run_blocks, session

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def _heard(seed: int, minutes: int, pauses_ms: tuple[int, ...]) -> list[tuple[int, bytes]]:
    """Frames of a few stable phones, some in bursts that last for many seconds."""
    rng = Random(seed)
    now, frames = START_MS, []
    while now < START_MS + minutes * MINUTE_MS:
        now += rng.choice(pauses_ms)
        frames.append((now, probe(f"00:1b:2f:00:00:{rng.randrange(3):02x}", -60)))
    return frames


def _batches(outputs: list[Output]) -> list[tuple[int, list[int]]]:
    """Clock and starts of the sightings of each batch, in the order sent."""
    return [
        (output.header.sensor_clock_ms, output.rows.column("observed_at").cast(pa.int64()).to_pylist())
        for output in outputs
        if output.header
    ]


@pytest.mark.parametrize("heartbeat_s", [1, 5, 20, 30, 60])
@pytest.mark.parametrize("pauses_ms", [(300, 900), (200, 2_000, 9_000), (170_000,)], ids=["dense", "mixed", "quiet"])
def test_every_minute_listened_through_has_a_batch_clock(heartbeat_s: int, pauses_ms: tuple[int, ...]) -> None:
    frames = _heard(heartbeat_s, 12, pauses_ms)
    batches = _batches(run_blocks(blocks_of(pcap(frames)), session(heartbeat_s)))
    first, last = frames[0][0] // MINUTE_MS + 1, frames[-1][0] // MINUTE_MS
    assert set(range(first, last)) <= {clock // MINUTE_MS for clock, _ in batches}


@pytest.mark.parametrize("heartbeat_s", [5, 60])
@pytest.mark.parametrize("max_rows", [1, 3, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_no_sighting_starts_before_a_clock_that_was_sent_before_it(seed: int, max_rows: int, heartbeat_s: int) -> None:
    frames = _heard(seed, 6, (100, 400, 950, 1_001, 5_000))
    batches = _batches(run_blocks(blocks_of(pcap(frames)), session(heartbeat_s, max_rows)))
    assert max(len(starts) for _, starts in batches) <= max_rows
    # Nor so much later than its own batch's clock that a worker would not believe it.
    assert all(start <= clock + ROW_LEAD_MS for clock, starts in batches for start in starts)
    promised = 0
    for clock, starts in batches:
        assert all(start >= promised for start in starts)
        assert clock >= promised
        promised = clock


def test_a_beat_is_half_a_period_into_it() -> None:
    assert Batching(60_000).next_beat_ms(29_999) == 30_000
    assert Batching(60_000).next_beat_ms(30_000) == 90_000
    assert Batching(5_000).next_beat_ms(0) == 2_500
