"""`footfall calibrate` and `footfall evaluate`, as a shop's analyst runs them: files in, one file or one object out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from footfall_cli.captures_heard import Day, read_days
from footfall_cli.labelled_days import labelled
from footfall_cli.main import main
from footfall_estimates.hours_off import better_shift_s
from footfall_estimates.minutes import COLUMNS, Heard
from footfall_estimates.truth import Level, read_levels, within
from rich.console import Console

from tests.captures import BRNO, CAPTURES
from tests.unit.collector_runs import pcap, probe

SITE = CAPTURES / "brno_sc661"
LEFT_OUT = ("--ignore-oui", "dc:fb:48")


def capture(date: str, position: int = 1) -> str:
    return str(SITE / f"sc6-61_{date}_position_{position}.pcap")


def truth(date: str) -> tuple[str, str]:
    return "--truth", str(SITE / f"sc6-61_{date}_position_1_occupancy.csv")


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibration") / "brno.json"
    files = [capture("2022-11-08"), capture("2023-03-21")]
    known = [*truth("2022-11-08"), *truth("2023-03-21")]
    assert main(["calibrate", "--store", "brno", "--out", str(out), *LEFT_OUT, *known, *files]) == 0
    return out


@pytest.mark.captures
def test_evaluate_prints_one_object_and_draws(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "day.png"
    options = ["--calibration", str(calibration), *LEFT_OUT, *truth("2024-04-04"), "--json", "--plot", str(picture)]
    assert main(["evaluate", *options, capture("2024-04-04")]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["windows"] == 108
    assert found["calibration_id"] == json.loads(calibration.read_text())["calibration_id"]
    assert 0 < found["mae"] < 2
    assert found["correlation"] > 0.9
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.captures
def test_captures_of_the_same_time_are_sensors_of_one_store(
    calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [capture("2024-04-04", 1), capture("2024-04-04", 2)]
    means = []
    for files in (both, both[:1], both[1:]):
        options = ["--calibration", str(calibration), *LEFT_OUT, *truth("2024-04-04"), "--json"]
        assert main(["evaluate", *options, *files]) == 0
        means.append(json.loads(capsys.readouterr().out.splitlines()[-1])["mean_estimate"])
    assert means[0] == pytest.approx(means[1], abs=0.5)
    assert means[0] == pytest.approx(means[2], abs=0.5)


@pytest.mark.captures
def test_windows_may_have_another_length(calibration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--calibration", str(calibration), *LEFT_OUT, *truth("2024-04-04"), "--window-min", "60", "--json"]
    assert main(["evaluate", *options, capture("2024-04-04")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["windows"] == 9


def moved_truth(directory: Path, date: str, hours: float) -> str:
    """A day's truth in a zone so many hours east of UTC."""
    lines = Path(truth(date)[1]).read_text().splitlines()
    moved = [lines[0]]
    for line in lines[1:]:
        from_s, to_s, *rest = line.split(",")
        moved.append(",".join((str(float(from_s) + hours * 3600), str(float(to_s) + hours * 3600), *rest)))
    path = directory / "local.csv"
    path.write_text("\n".join(moved))
    return str(path)


@pytest.mark.captures
def test_truth_of_another_zone_is_refused_with_the_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = moved_truth(tmp_path, "2022-11-08", 5)
    options = ["--store", "brno", "--out", str(tmp_path / "out.json"), "--truth", path]
    assert main(["calibrate", *options, capture("2022-11-08")]) == 2
    said = capsys.readouterr().err
    assert f"{path}:2: tells of no time that was heard, but would 5 h earlier: its times must be UTC" in said
    assert not (tmp_path / "out.json").exists()


@pytest.mark.captures
@pytest.mark.parametrize("hours", [1, 2])
@pytest.mark.parametrize("date", ["2022-11-08", "2023-03-21", "2024-04-04"])
def test_truth_of_another_zone_is_noticed_also_where_it_meets_its_capture(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], date: str, hours: int
) -> None:
    path = moved_truth(tmp_path, date, hours)
    said = f"footfall: {path}:2: would fit what was heard far better {hours} h earlier: its times must be UTC"
    options = ["--store", "brno", "--out", str(tmp_path / "out.json"), *LEFT_OUT, "--truth", path]
    assert main(["calibrate", *options, capture(date)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
    options = ["--calibration", str(calibration), *LEFT_OUT, "--truth", path]
    assert main(["evaluate", *options, capture(date)]) == 0
    shown = capsys.readouterr()
    assert said in shown.err
    assert "mae" in shown.out


@pytest.mark.captures
@pytest.mark.parametrize("options", [LEFT_OUT, ()])
@pytest.mark.parametrize("path", BRNO, ids=lambda path: path.stem)
def test_no_truth_of_the_real_captures_is_taken_to_be_hours_off(path: Path, options: tuple[str, ...]) -> None:
    (day,), _ = read_days([str(path)], "brno", options[1:], Console(quiet=True))
    levels = read_levels(path.with_name(f"{path.stem}_occupancy.csv"))
    assert better_shift_s(levels, [day.heard]) is None
    begin, end = levels[0].from_s, levels[-1].to_s
    for hours in (3, 3.5, 4, 6):
        for part_s in np.arange(begin, end - hours * 3600, 900):
            assert better_shift_s(within(levels, part_s, part_s + hours * 3600), [day.heard]) is None


@pytest.mark.captures
def test_two_truths_of_one_time_are_not_added_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again.csv"
    again.write_text(Path(truth("2022-11-08")[1]).read_text())
    out = tmp_path / "out.json"
    options = ["--store", "brno", "--out", str(out), *truth("2022-11-08"), "--truth", str(again)]
    assert main(["calibrate", *options, capture("2022-11-08")]) == 0
    assert f"{again}: tells of the same time as another truth file, left out" in capsys.readouterr().err


def test_everything_missing_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--store", "s", "--out", str(tmp_path / "o.json"), "--truth", "none.csv"]
    assert main(["calibrate", *options, "a.pcap", "door=b.pcap"]) == 2
    said = capsys.readouterr().err
    assert "a.pcap: no such file" in said
    assert "b.pcap: no such file" in said


def test_what_is_no_capture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pcap"
    path.write_text("no capture")
    options = ["--store", "s", "--out", str(tmp_path / "o.json"), "--truth", "t.csv"]
    assert main(["calibrate", *options, str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: " in said
    assert "no capture holds a frame" in said


def test_where_nothing_can_be_written_nothing_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "none" / "out"
    assert main(["calibrate", "--store", "s", "--out", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert main(["evaluate", "--calibration", "c", "--plot", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert capsys.readouterr().err.count(f"{out}: cannot be written: its directory must exist") == 2


@pytest.mark.parametrize("name", ["a" * 300, "."], ids=["a name too long", "a directory"])
def test_what_can_be_no_file_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / name
    assert main(["calibrate", "--store", "s", "--out", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert main(["evaluate", "--calibration", "c", "--plot", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert capsys.readouterr().err.count(f"{out}: cannot be written: ") == 2


def test_where_it_may_not_write_nothing_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who runs the tests may be root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    out = tmp_path / "out"
    assert main(["calibrate", "--store", "s", "--out", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert main(["evaluate", "--calibration", "c", "--plot", str(out), "--truth", "t.csv", "a.pcap"]) == 2
    assert capsys.readouterr().err.count(f"{out}: cannot be written: no permission") == 2


@pytest.mark.captures
def test_a_full_disk_is_named_after_the_scores_are_printed(
    calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = "/dev/full: cannot be written: No space left on device"
    options = ["--store", "brno", "--out", "/dev/full", *LEFT_OUT, *truth("2022-11-08")]
    assert main(["calibrate", *options, capture("2022-11-08")]) == 2
    assert full in capsys.readouterr().err
    options = ["--calibration", str(calibration), *LEFT_OUT, *truth("2022-11-08"), "--json", "--plot", "/dev/full"]
    assert main(["evaluate", *options, capture("2022-11-08")]) == 2
    shown = capsys.readouterr()
    assert full in shown.err
    assert json.loads(shown.out.splitlines()[-1])["windows"] > 0


def test_a_store_does_not_borrow_from_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--store", "north", "--borrow-from", "north"]) == 2
    assert "--borrow-from north is the store itself: borrow another store's" in capsys.readouterr().err


def test_people_who_were_inside_before_a_door_counted_are_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_s = 1_780_272_000
    (tmp_path / "a.pcap").write_bytes(pcap([(start_s * 1000, probe("02:11:22:33:44:55"))]))
    flow = tmp_path / "door.csv"
    flow.write_text(f"from_epoch_utc,to_epoch_utc,entries,exits\n{start_s},{start_s + 60},0,4\n")
    options = ["--store", "s", "--out", str(tmp_path / "o.json"), "--flow", "--truth", str(flow)]
    assert main(["calibrate", *options, str(tmp_path / "a.pcap")]) == 2
    assert f"footfall: {flow}:2: from here on 4 people left who had not come in" in capsys.readouterr().err


def a_quiet_day(first: int, minutes: int) -> Day:
    return Day(
        (f"{first}",),
        Heard(
            first,
            ("1",),
            np.zeros((minutes, 1, len(COLUMNS)), np.int64),
            np.ones((minutes, 1)),
            np.zeros((minutes, 1), np.int64),
        ),
    )


def test_a_truth_is_cut_to_what_was_heard() -> None:
    (known,), remarks = labelled([a_quiet_day(100, 60)], {Path("t.csv"): [Level(0, 1e15, 3)]})
    assert known.levels == [Level(6000, 9600, 3)]
    assert not remarks


def test_truths_of_tens_of_thousands_of_lines_are_matched_at_once() -> None:
    day = a_quiet_day(1440, 1440)
    even, odd = ([Level(s, s + 1, 1) for s in range(86_400 + first, 172_800, 2)] for first in (0, 1))
    began = time.process_time()
    (known,), remarks = labelled([day], {Path("even.csv"): even, Path("odd.csv"): odd})
    assert time.process_time() - began < 20
    assert [level.from_s for level in known.levels] == list(range(86_400, 172_800))
    assert not remarks
    _, remarks = labelled([day], {Path("even.csv"): even, Path("again.csv"): even[800:801]})
    assert remarks == ["again.csv: tells of the same time as another truth file, left out"]


@pytest.mark.parametrize(("text", "said"), [("{}", "is no calibration"), (None, "cannot be read")])
def test_a_wrong_calibration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    assert main(["evaluate", "--calibration", str(path), "--truth", "t.csv", "a.pcap"]) == 2
    assert said in capsys.readouterr().err
