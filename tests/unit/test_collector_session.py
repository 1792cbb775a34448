"""A sensor's run by event time: when batches leave, what their clocks promise, how they are cut."""

from __future__ import annotations

from random import Random

import pyarrow as pa
import pytest
from footfall_collectors.pseudonyms import EpochKey, Pseudonyms
from footfall_collectors.session import Batching, Output, SensorSession
from footfall_events.stores import parse_chain
from footfall_streams.watermark import ROW_LEAD_MS

from tests.unit.collector_runs import STORE, blocks_of, in_pieces, pcap, probe, run_blocks, session

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
CUT_OVER_MS = 1_700_020_800_000
"""04:00 UTC, at which the day before ends."""
DAY = CUT_OVER_MS // 86_400_000


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
    one = session(heartbeat_s, max_rows)
    batches = _batches(run_blocks(blocks_of(pcap(frames)), one))
    assert sum(len(starts) for _, starts in batches) == one.heard.sightings > 0
    assert max(len(starts) for _, starts in batches) <= max_rows
    # Nor so much later than its own batch's clock that a worker would not believe it.
    assert all(start <= clock + ROW_LEAD_MS for clock, starts in batches for start in starts)
    promised = 0
    for clock, starts in batches:
        assert all(start >= promised for start in starts)
        assert clock >= promised
        promised = clock


@pytest.mark.parametrize("heartbeat_s", [1, 2, 5, 60])
@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_a_phone_that_is_heard_all_the_time_holds_the_clock_at_the_start_of_its_burst(
    size: int, heartbeat_s: int
) -> None:
    frames = [(START_MS + n * 500, probe("00:1b:2f:00:00:00")) for n in range(400)]
    batches = _batches(run_blocks(in_pieces(blocks_of(pcap(frames)), size), session(heartbeat_s)))
    starts = [start for _, starts in batches for start in starts]
    assert starts == [START_MS + n * 10_500 for n in range(20)]
    for clock, _ in batches[1:-1]:
        assert not any(start < clock <= start + 10_000 for start in starts), "a burst that began before is open"


@pytest.mark.parametrize(("key_epoch", "dropped"), [(DAY - 1, 0), (DAY, 60)])
@pytest.mark.parametrize("heartbeat_s", [5, 60])
def test_batches_are_of_one_epoch_and_a_destroyed_one_is_counted_only(
    heartbeat_s: int, key_epoch: int, dropped: int
) -> None:
    frames = [(CUT_OVER_MS + n * 2_000, probe(f"00:1b:2f:00:00:{n % 3:02x}")) for n in range(-60, 60)]
    chain = parse_chain({"stores": [STORE]})
    pseudonyms = Pseudonyms(EpochKey(key_epoch, bytes(32)), chain.privacy.scope, "s")
    batching = Batching(heartbeat_s * 1_000, 2_000)
    one = SensorSession(chain.stores["s"], chain.privacy, "x", "boot", pseudonyms, batching)
    sent = [(o.header.key_epoch, o.rows) for o in run_blocks(blocks_of(pcap(frames)), one) if o.header]
    rows = [
        (epoch, row["device_id"], round(row["observed_at"].timestamp() * 1_000))
        for epoch, batch in sent
        for row in batch.to_pylist()
    ]
    assert [ts_ms for _, _, ts_ms in rows] == [ts_ms for ts_ms, _ in frames[dropped:]]
    assert all(epoch == (DAY if ts_ms >= CUT_OVER_MS else DAY - 1) for epoch, _, ts_ms in rows)
    assert len({(epoch, device) for epoch, device, _ in rows}) == (3 if dropped else 6)
    assert all(device for _, device, _ in rows)
    assert one.heard.dropped_sightings.total() == dropped
    assert one.heard.sightings == len(rows)


def test_a_beat_is_half_a_period_into_it() -> None:
    assert Batching(60_000).next_beat_ms(29_999) == 30_000
    assert Batching(60_000).next_beat_ms(30_000) == 90_000
    assert Batching(5_000).next_beat_ms(0) == 2_500
