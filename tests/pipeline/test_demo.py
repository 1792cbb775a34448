"""The README's first command, small: right figures, two beside each other, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from footfall_cli.drained import wait_until_zero
from footfall_cli.main import footfall
from footfall_cli.queries import query

pytestmark = pytest.mark.broker

SMALL = ("--stores", "1", "--days", "1", "--visitors-per-day", "40")


def demo(directory: Path, *options: str) -> subprocess.Popen[str]:
    """A demo whose temporary files are all below `directory`, and what it prints in a file there."""
    environ = {**os.environ, "TMPDIR": str(directory), "COLUMNS": "200"}  # noqa: TID251  inherited
    with (directory / "said").open("w") as said:
        command = footfall("demo", *SMALL, *options)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True, env=environ)


def said(directory: Path) -> str:
    return (directory / "said").read_text()


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    children: set[int] = set()
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children |= {int(child) for child in (task / "children").read_text().split()}
    return children.union(*(descendants(child) for child in children))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_two_demos_run_beside_each_other_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    kept, passing = tmp_path / "kept", tmp_path / "passing"
    kept.mkdir()
    passing.mkdir()
    with demo(kept, "--seed", "1", "--keep") as first, demo(passing, "--seed", "2") as second:
        assert second.wait(240) == 0, said(passing)
        wait_until_zero(lambda: "Still running" not in said(kept) and first.poll() is None, lambda: None, 240)
        assert first.poll() is None, said(kept)
        found = re.search(r"http://127\.0\.0\.1:\d+", said(kept))
        assert found
        (row,) = query(found.group(), "SELECT stable_visits FROM footfall.chain_days")
        assert row["stable_visits"] > 0
        below = descendants(first.pid)
        assert len(below) >= 4, "Kafka, ClickHouse, the worker and the sink"
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 0, said(kept)
    for directory in (kept, passing):
        assert "9 of 9 figures equal the truth." in said(directory)
        assert "loyalty 30" in said(directory)
        assert [path.name for path in directory.iterdir()] == ["said"]
    assert not [pid for pid in below if is_alive(pid)]


def test_ctrl_c_in_the_middle_ends_every_child(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        wait_until_zero(lambda: len(descendants(process.pid)) < 3 and process.poll() is None, lambda: None, 120)
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, said(tmp_path)
    assert not [pid for pid in below if is_alive(pid)]
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
    assert "Traceback" not in said(tmp_path)
