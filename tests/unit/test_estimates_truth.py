"""What a file of people counted by hand or by a door may hold, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footfall_estimates.truth import Level, at_minutes, read_flow, read_levels, windows, within
from footfall_events.errors import ConfigError

HEADER = "from_epoch_utc,to_epoch_utc,occupancy"


def written(directory: Path, *lines: str, header: str = HEADER) -> Path:
    path = directory / "truth.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_levels_are_read_in_their_order_and_gaps_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "0,60,2", "60,90,nan", "90,120,", "120,180.5,0.5")
    assert read_levels(path) == [Level(0, 60, 2), Level(120, 180.5, 0.5)]


def test_other_columns_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("\ufeffnote," + HEADER + "\nmorning,0,60,3\n", encoding="utf-8")
    assert read_levels(path) == [Level(0, 60, 3)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("50,120,1", "begins before the line above it ends", id="an overlap"),
        pytest.param("120,60,1", "ends before it begins", id="backwards"),
        pytest.param("60,120,-1", "occupancy -1 must be 0 or more", id="fewer than nobody"),
        pytest.param("60,120,inf", "occupancy inf must be 0 or more", id="a crowd without end"),
        pytest.param("noon,120,1", "could not convert string to float: 'noon'", id="no number"),
        pytest.param("nan,120,1", "must be seconds since 1970", id="no time"),
        pytest.param("60,nan,1", "must be seconds since 1970", id="no end"),
        pytest.param("-5,60,1", "must be seconds since 1970", id="before 1970"),
        pytest.param("60,1667901716855,1", "must be seconds since 1970, not milliseconds", id="ends in milliseconds"),
        pytest.param("1667901716855,1667901716955,1", "not milliseconds", id="in milliseconds"),
        pytest.param("60,1667901716,1", "lasts 19304.4 days: a line tells of a week at most", id="longer than a week"),
        pytest.param("60", "could not convert string to float: ''", id="a short line"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_levels(written(tmp_path, "0,60,2", line))
    (problem,) = refusal.value.problems
    assert problem.split("truth.csv")[1].startswith(":3: ")
    assert said in problem


def test_every_wrong_line_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_levels(written(tmp_path, "0,60,-2", "60,120,1", "60,120,1", "x,,"))
    assert [problem.split(":")[1] for problem in refusal.value.problems] == ["2", "4", "5"]


def test_blank_lines_do_not_shift_the_number_of_a_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_levels(written(tmp_path, "0,60,2", "", "", "60,120,-1"))
    assert [problem.split(":")[1] for problem in refusal.value.problems] == ["5"]


def test_a_file_without_a_segment_knows_nothing(tmp_path: Path) -> None:
    assert read_levels(written(tmp_path)) == []


@pytest.mark.parametrize("header", ["from,to,people", ""])
def test_missing_columns_are_named(tmp_path: Path, header: str) -> None:
    with pytest.raises(ConfigError, match=r":1: needs the columns from_epoch_utc, to_epoch_utc, occupancy"):
        read_levels(written(tmp_path, "0,60,1", header=header))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: cannot be read"):
        read_levels(tmp_path / "none.csv")


def test_a_door_counter_gives_the_level_halfway_between_a_segments_ends(tmp_path: Path) -> None:
    header = "from_epoch_utc,to_epoch_utc,entries,exits"
    levels, remarks = read_flow(
        written(tmp_path, "0,60,4,0", "60,120,0,1", "120,180,0,3", "180,240,2,0", header=header)
    )
    assert [level.people for level in levels] == [2, 3.5, 1.5, 1]
    assert not remarks


def test_people_who_leave_a_door_that_they_did_not_enter_are_remarked_with_the_first_line(tmp_path: Path) -> None:
    header = "from_epoch_utc,to_epoch_utc,entries,exits"
    path = written(tmp_path, "0,60,4,0", "60,120,0,9", "120,180,3,0", "180,240,0,5", header=header)
    levels, (remark,) = read_flow(path)
    assert [level.people for level in levels] == [2, 2, 1.5, 1.5]
    assert remark.startswith(f"{path}:3: from here on 7 people left who had not come in: ")


def test_a_door_counter_counts_no_negative_people(tmp_path: Path) -> None:
    header = "from_epoch_utc,to_epoch_utc,entries,exits"
    for counts in ("-4,0", "1.5,0", "0,nan"):
        with pytest.raises(ConfigError, match=r":2: entries and exits must be whole numbers, 0 or more"):
            read_flow(written(tmp_path, f"0,60,{counts}", header=header))
    levels, _ = read_flow(written(tmp_path, "0,60,4.0,", header=header))
    assert [level.people for level in levels] == [2]


@pytest.mark.parametrize(
    ("span", "left"),
    [
        pytest.param((0, 400), [Level(0, 100, 2), Level(100, 200, 3), Level(300, 400, 4)], id="all"),
        pytest.param((50, 150), [Level(50, 100, 2), Level(100, 150, 3)], id="cut at both ends"),
        pytest.param((100, 200), [Level(100, 200, 3)], id="those that only touch are left out"),
        pytest.param((210, 290), [], id="a gap"),
        pytest.param((320, 330), [Level(320, 330, 4)], id="within one"),
    ],
)
def test_levels_are_cut_to_a_time(span: tuple[int, int], left: list[Level]) -> None:
    assert within([Level(0, 100, 2), Level(100, 200, 3), Level(300, 400, 4)], *span) == left


def test_a_window_is_the_time_weighted_mean_if_half_of_it_is_known() -> None:
    levels = [Level(0, 30, 2), Level(30, 60, 4), Level(90, 120, 6), Level(151, 180, 8)]
    assert windows(levels, 60) == {0: 3, 1: 6}


def test_the_level_at_a_minute_is_unknown_in_a_gap() -> None:
    levels = [Level(0, 100, 2), Level(110, 180, 4), Level(600, 660, 5)]
    found = at_minutes(levels, np.arange(0, 11))
    assert [None if np.isnan(level) else level for level in found.tolist()] == [2, 2, 4, 4, 4, *[None] * 5, 5]


def test_nothing_is_known_without_levels() -> None:
    assert np.isnan(at_minutes([], np.arange(3))).all()


def test_staff_are_left_out_of_the_people(tmp_path: Path) -> None:
    path = tmp_path / "staff.csv"
    path.write_text("from_epoch_utc,to_epoch_utc,occupancy,staff\n0,60,5,2\n60,120,3,\n120,180,,1\n")
    assert read_levels(path) == [Level(0, 60, 3), Level(60, 120, 3)]
    path.write_text("from_epoch_utc,to_epoch_utc,occupancy,staff\n0,60,5,6\n60,120,5,-1\n")
    with pytest.raises(ConfigError) as refused:
        read_levels(path)
    assert [problem.split(": ")[0] for problem in refused.value.problems] == [f"{path}:2", f"{path}:3"]
