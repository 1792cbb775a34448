"""A truth beside the minutes of ClickHouse: a file that is hours off is told by how much, as beside captures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from footfall_cli.main import main

from tests.store.test_occupancy import TUESDAY, heard_day, people_at
from tests.store.world import MONDAY, World, opens


@pytest.fixture
def north(world: World, schema_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store with two days of minutes."""
    monkeypatch.setenv("FOOTFALL_CLICKHOUSE", schema_url)
    world.configure("north")
    world.insert([*heard_day("north", MONDAY, 1), *heard_day("north", TUESDAY, 2)])
    return world


def monday(hours_off: float = 0) -> str:
    """Monday's truth, as CSV."""
    begin = round(opens(MONDAY).timestamp() + hours_off * 3600)
    lines = [f"{begin + 60 * m},{begin + 60 * m + 60},{people_at(m)}" for m in range(660)]
    return "\n".join(["from_epoch_utc,to_epoch_utc,occupancy", *lines])


def calibrated(truth: Path) -> int:
    return main(["calibrate", "--store", "north", "--from-clickhouse", "--truth", str(truth)])


@pytest.mark.parametrize(
    ("hours_off", "said"),
    [
        pytest.param(-13, "tells of no time that was heard, but would 13 h later: its times must be UTC", id="far off"),
        pytest.param(2, "would fit what was heard far better 2 h earlier: its times must be UTC", id="within the day"),
        pytest.param(-3, "would fit what was heard far better 3 h later: its times must be UTC", id="the other way"),
        pytest.param(-30, "store 'north' has no minutes in the time that the truth tells of", id="of no zone"),
    ],
)
def test_a_truth_that_is_hours_off_is_refused_with_the_hours(
    north: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], hours_off: float, said: str
) -> None:
    path = tmp_path / "local.csv"
    path.write_text(monday(hours_off))
    assert calibrated(path) == 2
    assert said in capsys.readouterr().err
    assert not north.rows("SELECT * FROM footfall.store_calibrations")


def test_dates_that_the_truth_is_silent_about_are_not_fitted_on(
    north: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "monday.csv"
    path.write_text(monday())
    assert calibrated(path) == 0
    shown = capsys.readouterr()
    assert f"fitted on 660 minutes of {MONDAY}\n" in shown.out
    assert "left out" not in shown.err


def test_a_truth_may_come_through_a_pipe(north: World) -> None:
    reading, writing = os.pipe()
    os.write(writing, monday().encode())
    os.close(writing)
    try:
        assert calibrated(Path(f"/dev/fd/{reading}")) == 0
    finally:
        os.close(reading)
