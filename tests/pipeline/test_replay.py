"""The README's replay: real captures through every real component, equal to the oracle row by row."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from chdb.session import Session
from footfall_cli.main import footfall

from tests.captures import BRNO
from tests.pipeline.tables import (
    SENSOR_MINUTES,
    STORE_MINUTES,
    VISITS,
    Wanted,
    found_differences,
    nameless,
)
from tests.unit.collector_runs import pcap


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        footfall("replay", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["a.pcap", "b.pcap"], ["a.pcap: no such file", "b.pcap: no such file"], id="two missing files"),
        pytest.param(["good.pcap", "good.pcap"], ["two files would be sensor 'good'"], id="two files of one name"),
        pytest.param(["good.pcap", "a.pcap", "--sensor", "x"], ["a.pcap: no", "single file"], id="one sensor for two"),
        pytest.param(["good.pcap", "--ignore-oui", "x"], ["ignored_ouis[0]: is 'x'"], id="an OUI that is none"),
        pytest.param(["good.pcap", "--config", "chain.toml"], ["has no store 's', only other"], id="an unknown store"),
        pytest.param(["good.pcap", "--config", "none.toml"], ["none.toml: cannot be read"], id="no configuration"),
        pytest.param(["good.pcap", "--heartbeat-s", "7"], ["must divide a minute"], id="a heartbeat that does not fit"),
    ],
)
def test_bad_input_is_refused_with_every_problem_before_anything_starts(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "good.pcap").write_bytes(pcap([]))
    (tmp_path / "chain.toml").write_text('[[stores]]\nid = "other"\nsensors = ["x"]\n')
    named = [str(tmp_path / word) if word.endswith((".pcap", ".toml")) else word for word in arguments]
    done = replay(*named, "--store", "s")
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr.splitlines()) == len(words)
    for word, line in zip(words, done.stderr.splitlines(), strict=True):
        assert word in line


@pytest.mark.captures
@pytest.mark.broker
def test_a_truncated_capture_gives_what_was_readable_a_warning_and_exit_1(tmp_path: Path) -> None:
    path, kept = tmp_path / "cut.pcap", tmp_path / "database"
    path.write_bytes(BRNO[2].read_bytes()[:100_001])
    done = replay(path, "--store", "s", "--json", "--data", kept)
    assert done.returncode == 1
    assert "cut off at byte" in done.stderr
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["frames"] > 500
    with closing(Session(str(kept))) as session:
        assert int(session.query("SELECT sum(frames) FROM footfall.sensor_minutes").data()) == numbers["frames"]
