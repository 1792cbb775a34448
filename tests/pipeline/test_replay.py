"""The README's replay: real captures through every real component, equal to the oracle row by row."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from footfall_cli.main import footfall

from tests.captures import BRNO, needs_captures
from tests.oracle.clocks import heartbeat_clocks
from tests.oracle.frames import decide, read_frames
from tests.oracle.minutes import store_minutes
from tests.oracle.sensor_minutes import sensor_minutes
from tests.oracle.sightings import bursts_of, sightings_of
from tests.oracle.visits import visits_of

Row = dict[str, Any]
STORE: Row = {"id": "brno", "sensors": [path.stem for path in BRNO]}
VISIT_COLUMNS = (
    "first_seen_at, last_seen_at, entered_at, left_at, dwell_s, sightings, rssi_max_dbm, "
    "toInt8(address_class) AS address_class, toInt8(role) AS role, toUInt8(engaged) AS engaged, "
    "business_date, rule_version"
)


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        footfall("replay", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _ms(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


@needs_captures
@pytest.mark.captures
@pytest.mark.tshark
@pytest.mark.broker
def test_the_tables_of_the_real_captures_equal_the_oracles() -> None:
    done = replay(
        *BRNO,
        *("--store", "brno", "--json"),
        *("--sql", f"SELECT {VISIT_COLUMNS} FROM footfall.visits"),
        *("--sql", "SELECT * EXCEPT (version) FROM footfall.store_minutes ORDER BY minute"),
        *("--sql", "SELECT * FROM footfall.sensor_minutes ORDER BY sensor_id, minute"),
    )
    assert done.returncode == 0, done.stderr
    numbers, visits, minutes, radio = (json.loads(line) for line in done.stdout.splitlines()[-4:])
    heard, clocks, radio_wanted = [], {}, []
    for path in BRNO:
        decisions = decide(read_frames(path), STORE)
        bursts = bursts_of(decisions)
        heard += sightings_of(bursts)
        clocks[path.stem] = heartbeat_clocks(decisions, bursts, 60)
        radio_wanted += sensor_minutes(decisions, bursts, STORE, path.stem)
    visits_wanted = visits_of(heard, STORE, lambda mac, day: (int(mac.replace(":", ""), 16), 0))
    _compare_visits(visits, visits_wanted)
    # The batch that closes the store carries the largest clock, which its sensor has sent before.
    minutes_wanted = store_minutes(visits_wanted, clocks, STORE)
    names = ("sensors_live", "present", "entries", "exits", "passers_by", "is_final")
    assert [(_ms(r["minute"]), r["business_date"], *(r[n] for n in names)) for r in minutes] == [
        (r["minute_ms"], str(r["business_date"]), *(r[n] for n in names)) for r in minutes_wanted
    ]
    for row in radio:
        row["minute_ms"] = _ms(row.pop("minute"))
    for row in radio_wanted:
        row["business_date"] = str(row["business_date"])
    radio_wanted.sort(key=lambda row: (row["sensor_id"], row["minute_ms"]))
    assert radio == radio_wanted
    assert numbers["frames"] == 73_915
    assert numbers["rejected_frames"] == {}
    assert (numbers["late"], numbers["dead_letters"]) == (0, 0)
    assert numbers["sightings"] == len(heard)
    assert (numbers["visits"], numbers["store_minutes"]) == (len(visits_wanted), len(minutes_wanted))
    assert numbers["sensor_minutes"] == len(radio_wanted)


def _compare_visits(got: list[Row], wanted: list[Row]) -> None:
    """All columns but the names that a throwaway key gives."""

    def key(row: tuple[Any, ...]) -> str:
        return repr(row)

    names = ("dwell_s", "sightings", "rssi_max_dbm", "address_class", "role")
    times = ("first_seen", "last_seen", "entered", "left")
    found = [
        (
            *(_ms(r[f"{t}_at"]) for t in times),
            *(r[n] for n in names),
            r["engaged"],
            r["business_date"],
            r["rule_version"],
        )
        for r in got
    ]
    expected = [
        (
            *(r[f"{t}_ms"] for t in times),
            *(r[n] for n in names),
            int(r["engaged"]),
            str(r["business_date"]),
            r["rule_version"],
        )
        for r in wanted
    ]
    assert sorted(found, key=key) == sorted(expected, key=key)


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
