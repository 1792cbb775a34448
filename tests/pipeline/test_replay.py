"""The README's replay: real captures through every real component, equal to the oracle row by row."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from footfall_cli.main import footfall

from tests.captures import BRNO, needs_captures
from tests.pipeline.tables import (
    SENSOR_MINUTES,
    STORE_MINUTES,
    VISITS,
    Wanted,
    found_differences,
    nameless,
)


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        footfall("replay", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@needs_captures
@pytest.mark.captures
@pytest.mark.tshark
@pytest.mark.broker
def test_the_tables_of_the_real_captures_equal_the_oracles() -> None:
    queries = [VISITS, STORE_MINUTES, SENSOR_MINUTES]
    done = replay(*BRNO, "--store", "brno", "--json", *(part for sql in queries for part in ("--sql", sql)))
    assert done.returncode == 0, done.stderr
    numbers, *tables = (json.loads(line) for line in done.stdout.splitlines()[-4:])
    wanted = Wanted(named=False)
    wanted.add({path.stem: path for path in BRNO}, {"id": "brno"}, nameless)
    assert found_differences(wanted, dict(zip(queries, tables, strict=True)).__getitem__) == ""
    assert numbers["seconds"] > 0
    assert numbers["batches"] > 0
    assert {name: numbers[name] for name in numbers if name not in ("seconds", "batches")} == {
        "frames": 73_915,
        "rejected_frames": {},
        "sightings": wanted.sightings,
        "visits": len(wanted.visits),
        "store_minutes": len(wanted.store_minutes),
        "sensor_minutes": len(wanted.sensor_minutes),
        "late": 0,
        "dead_letters": 0,
    }
    assert sum(row["frames"] for row in tables[2]) == 73_915


def test_bad_input_is_refused_with_every_problem_before_anything_starts(tmp_path: Path) -> None:
    done = replay(tmp_path / "a.pcap", tmp_path / "b.pcap", "--store", "s")
    assert done.returncode == 2
    assert done.stderr.count("no such file") == 2


@needs_captures
@pytest.mark.captures
@pytest.mark.broker
def test_a_truncated_capture_gives_what_was_readable_a_warning_and_exit_1(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(BRNO[2].read_bytes()[:100_001])
    done = replay(path, "--store", "s", "--json")
    assert done.returncode == 1
    assert "cut off at byte" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"] > 500
