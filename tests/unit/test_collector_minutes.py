"""Sensor minutes of a crowd on every edge of a band: what a plain count says, in the same bytes whatever the blocks."""

from __future__ import annotations

from random import Random

import pytest
from footfall_events.schemas import BANDS, NEAR_BANDS_DBM
from footfall_events.sighting_batches import decode_sightings

from tests.unit.collector_runs import Row, as_bytes, blocks_of, in_pieces, pcap, probe, run_blocks, session

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
PAUSE_MS = 2_000
"""Longer than a burst's silence: every frame is a burst of its own."""


def _crowd(seed: int, frames: int) -> list[tuple[int, str, int]]:
    """Time, address and signal of single frames; every fourth address or so is random."""
    rng = Random(seed)
    now, heard = START_MS, []
    signals = [edge + off for edge in NEAR_BANDS_DBM for off in (-1, 0, 1)] + [-90, 0]
    for _ in range(frames):
        now += PAUSE_MS + rng.choice((0, 0, 0, 0, 1_500, 170_000 if rng.random() < 0.1 else 0))
        first = "02" if rng.random() < 0.5 else "00"
        heard.append((now, f"{first}:1b:2f:00:00:{rng.randrange(4):02x}", rng.choice(signals)))
    return heard


def _counted_one_by_one(heard: list[tuple[int, str, int]]) -> list[Row]:
    rows = []
    for minute in range(heard[0][0] // MINUTE_MS, heard[-1][0] // MINUTE_MS + 1):
        mine = [(mac, rssi) for ts_ms, mac, rssi in heard if ts_ms // MINUTE_MS == minute]
        row: Row = {"minute": minute, "frames": len(mine)}
        for name, octet in (("random", "02"), ("stable", "00")):
            for band, edge in zip(BANDS, (*NEAR_BANDS_DBM, None), strict=True):
                near = [mac for mac, rssi in mine if mac[:2] == octet and (edge is None or 0 > rssi >= edge)]
                row[f"{name}_bursts_{band}"], row[f"{name}_addresses_{band}"] = len(near), len(set(near))
        rows.append(row)
    return rows


@pytest.mark.parametrize("heartbeat_s", [5, 60])
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_minute_counts_bursts_and_addresses_in_every_band_they_reach(size: int, heartbeat_s: int) -> None:
    heard = _crowd(size, 700)
    capture = pcap([(ts_ms, probe(mac, rssi)) for ts_ms, mac, rssi in heard])
    outputs = run_blocks(in_pieces(blocks_of(capture), size), session(heartbeat_s))
    rows = [row for output in outputs if not output.header for row in output.rows.to_pylist()]
    for row in rows:
        row["minute"] = round(row["minute"].timestamp()) // 60
    wanted = _counted_one_by_one(heard)
    assert [{name: row[name] for name in wanted[0]} for row in rows] == wanted


@pytest.mark.parametrize("heartbeat_s", [5, 20, 60])
@pytest.mark.parametrize("max_rows", [3, 2000])
def test_the_same_bytes_leave_whatever_the_size_of_the_blocks(max_rows: int, heartbeat_s: int) -> None:
    parts = blocks_of(pcap([(ts_ms, probe(mac, rssi)) for ts_ms, mac, rssi in _crowd(1, 900)]))
    one_by_one = as_bytes(run_blocks(in_pieces(parts, 1), session(heartbeat_s, max_rows)))
    for size in (2, 13, 200, 10_000):
        assert as_bytes(run_blocks(in_pieces(parts, size), session(heartbeat_s, max_rows))) == one_by_one
    rows = [decode_sightings(value)[1].num_rows for value in one_by_one if b"batch_seq" in value]
    assert max(rows) == 3 or max_rows > 3
