"""Which captures are sensors of one store, and which are one sensor that was started again."""

from __future__ import annotations

from pathlib import Path

import pytest
from footfall_cli.captures_heard import read_days
from footfall_estimates.minutes import Heard
from rich.console import Console

from tests.unit.collector_runs import pcap, probe

START_MS = 1_780_272_000_000
"""Midnight, UTC: the start of a minute."""


def heard_of(directory: Path, captures: dict[str, tuple[float, float]]) -> Heard:
    """What captures from and to these minutes are taken for; `door=a` is named."""
    files = []
    for given, (first, last) in captures.items():
        sensor_id, equals, stem = given.rpartition("=")
        path = directory / f"{stem}.pcap"
        frames = [(START_MS + round(minute * 60_000), probe("02:11:22:33:44:55")) for minute in (first, last)]
        path.write_bytes(pcap(frames))
        files.append(f"{sensor_id}{equals}{path}")
    (day,), warnings = read_days(files, "s", (), Console(quiet=True))
    assert not warnings
    return day.heard


@pytest.mark.parametrize(
    ("captures", "sensors"),
    [
        pytest.param({"a": (0, 9.5), "b": (0, 9.5)}, ("1", "2"), id="the same time"),
        pytest.param({"a": (0, 5.4), "b": (5.5, 9)}, ("1",), id="one ends in the minute in which the other begins"),
        pytest.param({"a": (0, 6.4), "b": (5.5, 9)}, ("1", "2"), id="two minutes in common"),
        pytest.param({"a": (0.1, 0.8), "b": (0.2, 0.9)}, ("1", "2"), id="both within one minute"),
        pytest.param({"a": (0, 9), "b": (5.1, 5.2)}, ("1", "2"), id="one within a minute of the other"),
        pytest.param({"a": (0, 5.4), "b": (5.5, 5.9)}, ("1",), id="one goes on for the rest of a minute"),
        pytest.param({"a": (0, 9), "1=b": (0, 9)}, ("1", "2"), id="a name that was given is not handed out"),
        pytest.param({"a": (0, 9), "1=b": (0, 9), "2=c": (0, 9)}, ("1", "2", "3"), id="nor are two"),
        pytest.param({"1=a": (0, 5), "b": (6, 9)}, ("1",), id="but at another time it may be the same sensor"),
        pytest.param({"door=a": (0, 9), "b": (0, 9)}, ("1", "door"), id="a number beside a name"),
    ],
)
def test_captures_become_sensors(
    tmp_path: Path, captures: dict[str, tuple[float, float]], sensors: tuple[str, ...]
) -> None:
    assert heard_of(tmp_path, captures).sensors == sensors


def test_sensors_of_the_same_minute_both_count(tmp_path: Path) -> None:
    heard = heard_of(tmp_path, {"a": (0.1, 0.8), "b": (0.2, 0.9)})
    assert heard.near.sum(axis=(0, 2)).tolist() == [3, 3]
