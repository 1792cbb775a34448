"""The simulator's truth beside the oracle's, which reads the same captures through tshark."""

from __future__ import annotations

import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from footfall_cli.simulator import simulate

from tests.oracle.frames import decide, read_frames
from tests.oracle.sightings import bursts_of, sightings_of
from tests.oracle.visits import visits_of

ROLES = {1: "passer_by", 2: "bounced", 3: "visitor", 4: "staff_or_fixed"}


@pytest.mark.tshark
def test_every_presence_is_the_one_the_oracle_finds_in_the_captures(tmp_path: Path) -> None:
    # From a Saturday, so that the second day is a Sunday on which the store is closed.
    chain = simulate(
        tmp_path,
        stores=1,
        days=3,
        seed=11,
        start=date(2026, 3, 7),
        visitors_per_day=60,
        randomising_share=0.6,
    )
    store = tomllib.loads(chain.config.read_text())["stores"][0]
    sightings, frames, rejected = [], 0, 0
    for path in chain.captures["store-000"]:
        decided = decide(read_frames(path), store)
        frames += len(decided)
        rejected += sum(frame["outcome"] == "rejected" for frame in decided)
        sightings += sightings_of(bursts_of(decided))
    numbers: dict[str, int] = {}
    wanted = visits_of(sightings, store, lambda mac, day: (numbers.setdefault(mac, len(numbers)), 0))
    columns = ("business_date", "dwell_s", "sightings", "rssi_max_dbm")
    times = ("first_seen", "last_seen", "entered", "left")
    theirs = Counter(
        (*(row[name] for name in columns), *(row[f"{name}_ms"] for name in times), ROLES[row["role"]]) for row in wanted
    )
    ours = Counter(
        (
            *(row[name] for name in columns),
            *(row[at] and round(row[at].timestamp() * 1000) for at in (f"{name}_at" for name in times)),
            row["role"],
        )
        for row in chain.table("presences").to_pylist()
    )
    assert sum(ours.values()) > 150
    assert set(ROLES.values()) == {row[-1] for row in ours}
    assert ours == theirs
    sensors = chain.table("sensors").to_pylist()
    assert frames == sum(row["frames"] for row in sensors)
    assert rejected == sum(row["malformed"] for row in sensors)
