"""The collector on real captures: what the row-by-row oracle says, whatever the blocks, whatever the frames."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from footfall_events.schemas import SENSOR_MINUTES

from tests.captures import BRNO, TCPDUMP
from tests.oracle.clocks import heartbeat_clocks
from tests.oracle.frames import decide, read_frames
from tests.oracle.pseudonyms import pseudonyms
from tests.oracle.sensor_minutes import sensor_minutes
from tests.oracle.sightings import bursts_of, sightings_of
from tests.oracle.store_settings import business_date
from tests.unit.collector_runs import (
    KEY,
    STORE,
    Row,
    as_bytes,
    blocks_of,
    frames_of,
    in_pieces,
    pcap,
    run_blocks,
    run_file,
    session,
)

pytestmark = [pytest.mark.captures, pytest.mark.tshark]


def _ids(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", [*BRNO, *TCPDUMP], ids=_ids)
def test_sightings_minutes_and_clocks_equal_the_oracles(path: Path) -> None:
    one = session()
    outputs = run_file(path, one)
    decisions = decide(read_frames(path), STORE)
    bursts = bursts_of(decisions)
    assert one.heard.frames == len(decisions)
    for outcome, counter in (("rejected", one.heard.rejected), ("ignored", one.heard.ignored)):
        reasons = [row["reason"] for row in decisions if row["outcome"] == outcome]
        assert counter == {reason: reasons.count(reason) for reason in set(reasons)}
    key_file = {"scope": "store", "policy": "daily", "days": 1, "epoch": KEY.epoch, "key": KEY.secret.hex()}
    name = pseudonyms(key_file, "s")
    wanted = [
        {
            "device_id": (name(row["mac"], business_date(STORE, row["observed_ms"])) or (0, 0))[0],
            **{column: row[column] for column in ("span_ms", "rssi_dbm", "frames", "freq_mhz", "address_class")},
            "observed_ms": row["observed_ms"],
        }
        for row in sightings_of(bursts)
    ]
    assert _sorted(_sightings([o.rows for o in outputs if o.header])) == _sorted(wanted)
    assert [o.header.sensor_clock_ms for o in outputs if o.header] == heartbeat_clocks(decisions, bursts, 60)
    rows = [row for o in outputs if not o.header for row in o.rows.to_pylist()]
    for row in rows:
        row["minute_ms"] = round(row.pop("minute").timestamp() * 1000)
        del row["boot_id"]
    assert rows == sensor_minutes(decisions, bursts, STORE, "x")


def _sightings(batches: list[pa.RecordBatch]) -> list[Row]:
    rows: list[Row] = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches]).to_pylist()
    for row in rows:
        row["observed_ms"] = round(row.pop("observed_at").timestamp() * 1000)
        del row["frame_kinds"]
    return rows


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["observed_ms"], row["device_id"]))


def test_the_five_real_captures_hold_73915_frames_and_none_is_malformed() -> None:
    heard = []
    for path in BRNO:
        one = session()
        run_file(path, one)
        heard.append(one.heard)
    assert sum(one.frames for one in heard) == 73_915
    assert not any(one.rejected for one in heard)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_blocks_does_not_matter(size: int) -> None:
    parts = blocks_of(BRNO[2].read_bytes())
    assert as_bytes(run_blocks(in_pieces(parts, size), session())) == as_bytes(run_blocks(parts, session()))


def test_ten_thousand_mutated_frames_each_end_in_one_verdict() -> None:
    rng = random.Random(11)
    originals = [frame for path in [*BRNO[2:3], *TCPDUMP] for frame in frames_of(path.read_bytes())]
    mutated = []
    for number in range(10_000):
        data = bytearray(rng.choice(originals)[1])
        for _ in range(rng.randrange(1, 6)):
            if data:
                data[rng.randrange(min(len(data), 48))] = rng.randrange(256)
        if rng.random() < 0.3:
            data = data[: rng.randrange(len(data) + 1)]
        mutated.append((1_700_000_000_000 + number * 37, bytes(data)))
    one = session()
    outputs = run_blocks(blocks_of(pcap(mutated)), one)
    minutes = pa.Table.from_batches([o.rows for o in outputs if not o.header], SENSOR_MINUTES)
    sums = {name: sum(minutes.column(name).to_pylist()) for name in ("frames", "rejected", "ignored")}
    assert sums == {
        "frames": 10_000,
        "rejected": one.heard.rejected.total(),
        "ignored": one.heard.ignored.total(),
    }
    assert len(one.heard.rejected) >= 5, "the mutations reach most reasons"


def test_mutated_frames_are_judged_as_the_oracle_judges_them(tmp_path: Path) -> None:
    rng = random.Random(12)
    originals = [frame for path in [*BRNO[2:3], *TCPDUMP] for frame in frames_of(path.read_bytes())]
    mutated = []
    for number in range(1500):
        data = bytearray(rng.choice(originals)[1])
        for _ in range(rng.randrange(1, 4)):
            if data:
                data[rng.randrange(min(len(data), 40))] = rng.randrange(256)
        mutated.append((1_700_000_000_000 + number * 37, bytes(data)))
    path = tmp_path / "mutated.pcap"
    path.write_bytes(pcap(mutated))
    one = session()
    run_file(path, one)
    decisions = decide(read_frames(path), STORE)
    for outcome, counter in (("rejected", one.heard.rejected), ("ignored", one.heard.ignored)):
        reasons = [row["reason"] for row in decisions if row["outcome"] == outcome]
        assert counter == {reason: reasons.count(reason) for reason in set(reasons)}
