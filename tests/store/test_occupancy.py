"""Calibrations and estimates where analysts find them: `footfall calibrate` and `footfall estimate` on ClickHouse."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from footfall_cli.children import free_port
from footfall_cli.estimate_command import Gauges, work_off
from footfall_cli.main import footfall, main
from footfall_sinks.estimates import newest_windows, outdated
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from tests.store.world import MINUTE, MONDAY, Row, World, opens, sensor_minute, visit

TUESDAY = MONDAY + timedelta(days=1)
RATES = {"random": 0.35, "stable": 0.2}
"""Near addresses per person and minute."""


def people_at(minute: int) -> int:
    """Nobody for two hours and in the end; twelve people about noon."""
    return round(max(0.0, 12 * np.sin((minute - 120) / 480 * np.pi))) if 120 <= minute < 600 else 0


def heard_day(store: str, day: date, seed: int, minutes: int = 660, **columns: Any) -> list[Row]:
    """Eleven hours of the sensor `door`."""
    random = np.random.default_rng(seed)
    rows = []
    for minute in range(minutes):
        counts: dict[str, int] = {}
        for kind, rate in RATES.items():
            addresses = int(random.poisson(0.004 + rate * people_at(minute)))
            counts |= {f"{kind}_addresses_65": addresses, f"{kind}_bursts_65": addresses + addresses // 4}
        rows.append(sensor_minute(store, day, opens(day) + minute * MINUTE, **counts, **columns))
    return rows


def truth_of(directory: Path, day: date) -> str:
    path = directory / f"{day}.csv"
    begin = int(opens(day).timestamp())
    lines = [f"{begin + 60 * m},{begin + 60 * m + 60},{people_at(m)}" for m in range(660)]
    path.write_text("\n".join(["from_epoch_utc,to_epoch_utc,occupancy", *lines]))
    return str(path)


@pytest.fixture
def url(schema_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FOOTFALL_CLICKHOUSE", schema_url)
    return schema_url


@pytest.fixture
def north(world: World, url: str, tmp_path: Path) -> World:
    """A store with two days of minutes and a calibration of the first."""
    world.configure("north", "south")
    world.insert([*heard_day("north", MONDAY, 1), *heard_day("north", TUESDAY, 2)])
    assert main(["calibrate", "--store", "north", "--from-clickhouse", "--truth", truth_of(tmp_path, MONDAY)]) == 0
    return world


def occupancy(world: World, day: date, store: str = "north") -> dict[datetime, tuple[float, float, float]]:
    columns = "occupancy_estimate, occupancy_estimate_lo, occupancy_estimate_hi"
    found = world.rows(
        f"SELECT window_start, {columns} FROM footfall.occupancy_5min "
        f"WHERE store_id = '{store}' AND business_date = '{day}' ORDER BY window_start"
    )
    return {row["window_start"]: tuple(row[name] for name in columns.split(", ")) for row in found}


def test_a_date_that_was_not_fitted_is_told_with_its_interval(north: World) -> None:
    assert main(["estimate"]) == 0
    found = occupancy(north, TUESDAY)
    assert len(found) == 132
    errors, inside = [], 0
    for start, (people, low, high) in found.items():
        minute = round((start - opens(TUESDAY)) / MINUTE)
        really = float(np.mean([people_at(m) for m in range(minute, minute + 5)]))
        errors.append(abs(people - really))
        inside += low <= really <= high
        assert low <= people <= high
    assert np.mean(errors) < 1.3
    assert inside / len(found) > 0.9


def test_estimating_again_changes_nothing(north: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate"]) == 0
    before = occupancy(north, TUESDAY)
    capsys.readouterr()
    assert main(["estimate"]) == 0
    assert capsys.readouterr().out == "every estimate is up to date\n"
    assert occupancy(north, TUESDAY) == before


def test_a_day_is_the_same_whether_its_minutes_came_at_once_or_late_and_twice(north: World) -> None:
    assert main(["estimate"]) == 0
    rows = [{**row, "store_id": "south"} for row in heard_day("north", TUESDAY, 2)]
    north.insert(rows[300:])
    assert main(["calibrate", "--store", "south", "--borrow-from", "north"]) == 0
    assert main(["estimate"]) == 0
    late = occupancy(north, TUESDAY, "south")
    north.insert(rows[:300])
    north.insert(rows)
    assert main(["estimate"]) == 0
    whole = occupancy(north, TUESDAY, "south")
    assert len(whole) == 132
    assert len(late) == 72
    for table in ("occupancy_log", "occupancy_days_log"):
        north.client.command(f"TRUNCATE TABLE footfall.{table}")
    assert main(["estimate"]) == 0
    assert occupancy(north, TUESDAY, "south") == whole


def test_a_newer_calibration_restates_history(north: World, tmp_path: Path) -> None:
    assert main(["estimate"]) == 0
    before = occupancy(north, MONDAY)
    known = ["--truth", truth_of(tmp_path, MONDAY), "--truth", truth_of(tmp_path, TUESDAY)]
    assert main(["calibrate", "--store", "north", "--from-clickhouse", *known]) == 0
    assert [day.business_date for day in outdated(north.client)] == [MONDAY, TUESDAY]
    assert main(["estimate"]) == 0
    assert occupancy(north, MONDAY) != before
    used = north.rows("SELECT calibration_id, is_used, number FROM footfall.store_calibrations ORDER BY number")
    assert [(row["number"], row["is_used"]) for row in used] == [(1, 0), (2, 1)]
    ids = north.rows("SELECT DISTINCT calibration_id FROM footfall.occupancy_5min")
    assert [row["calibration_id"] for row in ids] == [used[1]["calibration_id"]]


def test_minutes_sent_again_with_other_counts_restate_their_date(north: World) -> None:
    assert main(["estimate"]) == 0
    rows = heard_day("north", TUESDAY, 2)
    north.insert([{**row, "random_addresses_65": 3 * row["random_addresses_65"]} for row in rows])
    assert [day.business_date for day in outdated(north.client)] == [TUESDAY]
    before = occupancy(north, TUESDAY)
    assert main(["estimate"]) == 0
    assert occupancy(north, TUESDAY) != before
    assert outdated(north.client) == []


def test_windows_that_are_gone_go(north: World) -> None:
    assert main(["estimate"]) == 0
    deaf = [{**row, "listening_s": 0.0} for row in heard_day("north", TUESDAY, 2)[300:360]]
    north.insert(deaf)
    assert main(["estimate"]) == 0
    assert len(occupancy(north, TUESDAY)) == 132 - 12


def test_a_date_without_a_window_is_worked_out_once(north: World) -> None:
    wednesday = MONDAY + timedelta(days=2)
    north.insert([{**row, "listening_s": 1.0} for row in heard_day("north", wednesday, 3, minutes=10)])
    assert main(["estimate"]) == 0
    assert outdated(north.client) == []
    assert occupancy(north, wednesday) == {}
    assert wednesday not in north.days("visitor_hours_estimate", view="occupancy_days")


def test_work_that_broke_off_shows_nothing_of_itself(north: World) -> None:
    assert main(["estimate"]) == 0
    before = occupancy(north, TUESDAY)
    row = north.rows("SELECT * FROM footfall.occupancy_log ORDER BY window_start DESC LIMIT 1")[0]
    north.client.insert("footfall.occupancy_log", [[*(row | {"people": 99.0, "version": 2}).values()]], list(row))
    found = occupancy(north, TUESDAY)
    assert 99.0 not in [people for people, _, _ in found.values()]
    assert found.items() <= before.items()


def test_a_minute_dated_far_ahead_draws_nobody_away_from_today(north: World) -> None:
    far = date(2050, 1, 3)
    north.insert([sensor_minute("south", far, opens(far) + number * MINUTE) for number in range(10)])
    assert main(["calibrate", "--store", "south", "--borrow-from", "north"]) == 0
    assert (TUESDAY, "north") in {(day.business_date, day.store_id) for day in outdated(north.client, 2)}
    assert main(["estimate"]) == 0
    assert [one.store_id for one in newest_windows(north.client, 2)] == ["north"]


def test_a_calibration_that_cannot_be_read_stops_no_other_store(
    north: World, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = "store_id, number, calibration_id, method, parameters, fitted_on, borrowed_from"
    north.client.insert(
        "footfall.store_calibrations_log",
        [["south", 1, "odd", "joint-filter@1", "{}", "{}", None]],
        columns.split(", "),
    )
    north.insert(heard_day("south", MONDAY, 4))
    assert main(["estimate"]) == 1
    assert "store south: " in capsys.readouterr().err
    assert occupancy(north, TUESDAY)


def test_whoever_is_told_to_end_ends_after_the_date_at_hand(north: World) -> None:
    worked = work_off(north.client, Console(quiet=True), is_over=lambda: bool(occupancy(north, MONDAY)))
    assert worked.dates == 1
    assert not occupancy(north, TUESDAY)


def test_a_store_with_a_truth_has_visitors_with_an_interval_a_method_and_a_calibration(north: World) -> None:
    assert main(["estimate"]) == 0
    north.insert([visit("north", TUESDAY, device, 1800, sightings=31) for device in range(40)])
    hours = sum(people_at(minute) for minute in range(660)) / 60
    people, low, high = north.days("visitors_estimate, visitors_estimate_lo, visitors_estimate_hi")[TUESDAY]
    assert low < people < high
    assert people == pytest.approx(hours / (1800 * 32 / 30 / 3600), rel=0.25)
    method, name = north.days("visitors_estimate_method, calibration_id")[TUESDAY]
    used = north.rows("SELECT calibration_id, method FROM footfall.store_calibrations")[0]
    assert (method, name) == (used["method"], used["calibration_id"])


def test_who_follows_looks_at_the_newest_days_only(north: World) -> None:
    assert [day.business_date for day in outdated(north.client, 1)] == [TUESDAY]
    assert [day.business_date for day in outdated(north.client)] == [MONDAY, TUESDAY]


def test_the_same_calibration_again_is_no_newer_one(north: World, tmp_path: Path) -> None:
    assert main(["calibrate", "--store", "north", "--from-clickhouse", "--truth", truth_of(tmp_path, MONDAY)]) == 0
    assert north.rows("SELECT count() AS n FROM footfall.store_calibrations")[0]["n"] == 1


def test_a_borrowed_calibration_says_so_and_is_less_sure(north: World) -> None:
    north.insert([{**row, "store_id": "south"} for row in heard_day("north", TUESDAY, 2)])
    assert main(["calibrate", "--store", "south", "--borrow-from", "north"]) == 0
    assert main(["estimate"]) == 0
    row = north.rows("SELECT borrowed_from FROM footfall.store_calibrations WHERE store_id = 'south'")[0]
    assert row["borrowed_from"] == "north"

    def width(store: str) -> float:
        return float(np.mean([high - low for _, low, high in occupancy(north, TUESDAY, store).values()]))

    assert width("south") > 1.1 * width("north")


def test_a_window_in_the_dark_has_no_estimate(north: World) -> None:
    wednesday = MONDAY + timedelta(days=2)
    rows = heard_day("north", wednesday, 3)
    north.insert([*rows[:200], *rows[260:]])
    assert main(["estimate"]) == 0
    found = occupancy(north, wednesday)
    assert len(found) == 132 - 12
    hours = north.rows(
        f"SELECT hour_start, windows FROM footfall.store_hours WHERE business_date = '{wednesday}' ORDER BY hour_start"
    )
    assert [row["windows"] for row in hours] == [12, 12, 12, 4, 8, 12, 12, 12, 12, 12, 12]


def test_a_store_without_a_calibration_has_no_estimate(north: World) -> None:
    north.insert(heard_day("south", MONDAY, 4))
    assert main(["estimate"]) == 0
    assert not occupancy(north, MONDAY, "south")


def test_evaluate_takes_a_calibration_by_its_id(
    north: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = north.rows("SELECT calibration_id FROM footfall.store_calibrations")[0]["calibration_id"]
    # A capture that is none: the calibration has been found by then.
    path = tmp_path / "a.pcap"
    path.write_text("no capture")
    assert main(["evaluate", "--calibration", name, "--truth", truth_of(tmp_path, MONDAY), str(path)]) == 2
    assert "no capture holds a frame" in capsys.readouterr().err
    assert main(["evaluate", "--calibration", "none", "--truth", truth_of(tmp_path, MONDAY), str(path)]) == 2
    assert "calibration 'none' is neither a file nor in store_calibrations" in capsys.readouterr().err


def test_the_gauges_show_the_newest_window(north: World) -> None:
    north.insert(heard_day("north", MONDAY + timedelta(days=2), 5, minutes=360))
    gauges = Gauges(CollectorRegistry())
    worked = work_off(north.client, Console(quiet=True))
    assert worked.dates == 3
    gauges.show(newest_windows(north.client, 1), worked)
    shown = generate_latest(gauges.registry).decode()
    samples = {line.split("{")[0]: float(line.split()[-1]) for line in shown.splitlines() if line[0] != "#"}
    low, people, high = (samples[f"footfall_estimates_occupancy{end}"] for end in ("_lo", "", "_hi"))
    assert low <= people <= high
    assert people == pytest.approx(people_at(358), abs=4)
    begin = opens(MONDAY + timedelta(days=2)) + timedelta(minutes=355)
    assert samples["footfall_estimates_window_timestamp_seconds"] == begin.timestamp()


def test_whoever_follows_serves_the_gauges_until_told_to_end(north: World) -> None:
    port = free_port()
    command = footfall("estimate", "--follow", "0.2", "--metrics-port", str(port))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + 60
            while "footfall_estimates_occupancy_lo{" not in _metrics(port):
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            child.terminate()
        assert child.wait(30) == 0
    assert occupancy(north, TUESDAY)


def _metrics(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text: str = reply.read().decode()
            return text
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from-clickhouse"], "give --truth"),
        ([], "one of them"),
        (["--borrow-from", "north", "a.pcap"], "one of them"),
        (["--borrow-from", "nowhere"], "store 'nowhere' has no calibration"),
    ],
)
def test_what_does_not_go_together_is_refused(
    north: World, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["calibrate", "--store", "south", *options]) == 2
    assert said in capsys.readouterr().err


def test_minutes_that_are_not_there_are_named(north: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = ["--truth", truth_of(tmp_path, MONDAY + timedelta(days=9))]
    assert main(["calibrate", "--store", "north", "--from-clickhouse", *known]) == 2
    assert "store 'north' has no minutes in the time that the truth tells of" in capsys.readouterr().err
