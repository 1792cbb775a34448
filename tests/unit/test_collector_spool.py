"""The spool: in order, within its bounds, and never more lost than what was not written, whatever the disk does."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.spool import FILE, Bounds, Spool, Trouble, trouble
from footfall_events.errors import ConfigError
from prometheus_client import CollectorRegistry

WIDE = Bounds(most_bytes=10**9, most_age_ms=10**12)
HOUR_MS = 3_600_000


class Opened:
    """A spool with its counters and what it said; opened again it is another process's."""

    def __init__(self, directory: Path, bounds: Bounds = WIDE) -> None:
        self.directory = directory
        self.said: list[str] = []
        self._registry = CollectorRegistry()
        self.spool = Spool(directory, bounds, CollectorMetrics(self._registry), self.said.append)

    def count(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"footfall_collector_spool_{name}", labels) or 0

    def fill(self, numbers: range, value_bytes: int = 0, step_ms: int = 5_000) -> None:
        """Messages that bear their number as value, time and clock."""
        for number in numbers:
            value = b"%d|" % number + os.urandom(value_bytes)
            self.spool.append("t", b"s", value, number * step_ms, "x")

    def numbers(self) -> list[int]:
        return [int(message.value.split(b"|")[0]) for message in self.spool.after(0, 10**6)]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    one = Opened(tmp_path / "spool")
    yield one
    one.spool.close()


def test_what_goes_in_first_comes_out_first_also_after_a_restart(opened: Opened) -> None:
    opened.fill(range(10))
    opened.spool.remove(message.id for message in opened.spool.after(0, 4))
    opened.spool.close()
    again = Opened(opened.directory)
    again.fill(range(10, 13))
    assert again.numbers() == list(range(4, 13))
    assert again.spool.messages == again.count("messages") == 9
    assert [message.key for message in again.spool.after(0, 1)] == [b"s"]
    again.spool.close()


def test_an_id_is_never_used_twice(opened: Opened) -> None:
    opened.fill(range(3))
    opened.spool.remove([1, 2, 3])
    opened.spool.close()
    again = Opened(opened.directory)
    again.fill(range(1))
    assert again.spool.first_id() == 4
    again.spool.close()


def test_the_last_clock_of_each_sensor_is_kept_also_when_nothing_waits(opened: Opened) -> None:
    opened.fill(range(3))
    opened.spool.append("t", b"s", b"", 99, "y")
    opened.spool.append("minutes", b"s", b"", 123)
    opened.spool.remove([1, 2, 3, 4, 5])
    opened.spool.close()
    again = Opened(opened.directory)
    assert [again.spool.clock_ms(sensor) for sensor in ("x", "y", "z")] == [10_000, 99, 0]
    again.spool.close()


@pytest.mark.parametrize(
    ("held_bytes", "age_ms", "reason"),
    [
        pytest.param(1_000, 100, "", id="exactly at both bounds nothing goes"),
        pytest.param(1_001, 100, "bytes", id="a byte more"),
        pytest.param(1_000, 101, "age", id="a millisecond older"),
    ],
)
def test_the_bounds(held_bytes: int, age_ms: int, reason: str) -> None:
    assert Bounds(most_bytes=1_000, most_age_ms=100).broken(held_bytes, age_ms) == reason


def test_what_is_too_old_goes_oldest_first_and_is_counted(tmp_path: Path) -> None:
    one = Opened(tmp_path, Bounds(10**9, HOUR_MS))
    one.fill(range(1000))
    kept = HOUR_MS // 5_000 + 1  # one of exactly an hour stays
    assert one.numbers() == list(range(1000 - kept, 1000))
    assert one.count("dropped_total", reason="age") == 1000 - kept
    assert one.count("oldest_age_seconds") == 3600
    one.spool.close()


def test_what_is_too_much_goes_oldest_first_and_is_counted(tmp_path: Path) -> None:
    one = Opened(tmp_path, Bounds(1_000_000, 10**12))
    one.fill(range(1000), value_bytes=2_000)
    kept = len(one.numbers())
    assert one.numbers() == list(range(1000 - kept, 1000))
    assert one.count("dropped_total", reason="bytes") == 1000 - kept
    assert 900_000 < one.count("bytes") <= 1_000_000
    assert one.directory.joinpath(FILE).stat().st_size < 1_100_000
    one.spool.close()


def test_frames_of_an_earlier_day_are_not_old_but_just_spooled(tmp_path: Path) -> None:
    one = Opened(tmp_path, Bounds(10**9, HOUR_MS))
    one.spool.append("t", b"s", b"1|", 100 * HOUR_MS, "x")
    one.spool.append("t", b"s", b"2|", HOUR_MS, "x")
    one.spool.remove([1])
    one.spool.append("t", b"s", b"3|", 100 * HOUR_MS, "x")
    assert one.numbers() == [2, 3]
    one.spool.close()


def _copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for name in (FILE, f"{FILE}-wal"):
        shutil.copy(source / name, target / name)
    return target


def test_a_torn_log_keeps_a_prefix_of_what_was_written_and_the_clock_that_belongs_to_it(
    opened: Opened, tmp_path: Path
) -> None:
    opened.fill(range(8), value_bytes=3_000)
    written = [message.value for message in opened.spool.after(0, 100)]
    log = (opened.directory / f"{FILE}-wal").read_bytes()
    frame = 4096 + 24
    tail = range(len(log) - 2 * frame - 9, len(log))
    borders = [n for n in tail if n % frame in (31, 32, 33, 55, 56)]
    found = set()
    for cut in sorted({*range(0, len(log), 1009), *tail[::61], *borders, len(log)}):
        for garbled in (False, True):
            case = _copied(opened.directory, tmp_path / "case")
            wrong = bytes([log[cut] ^ 0xFF]) + log[cut + 1 :] if garbled and cut < len(log) else b""
            (case / f"{FILE}-wal").write_bytes(log[:cut] + wrong)
            one = Opened(case)
            kept = [message.value for message in one.spool.after(0, 100)]
            assert kept == written[: len(kept)], f"cut at byte {cut}, garbled {garbled}"
            assert one.spool.clock_ms("x") == max(0, len(kept) - 1) * 5_000, f"cut at byte {cut}, garbled {garbled}"
            assert one.said == []
            found.add(len(kept))
            one.spool.close()
            shutil.rmtree(case)
    assert found == set(range(9))  # every border between two messages was met


_APPENDS_FOR_EVER = """
import sys
from pathlib import Path
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.spool import Bounds, Spool
from prometheus_client import CollectorRegistry
spool = Spool(Path(sys.argv[1]), Bounds(10**9, 10**12), CollectorMetrics(CollectorRegistry()), print)
number = spool.messages
while True:
    spool.append("t", b"s", b"%d|" % number + bytes(2000), number * 5000, "x")
    print(number, flush=True)
    number += 1
"""


def test_a_process_that_is_killed_while_writing_loses_nothing_that_it_has_written(tmp_path: Path) -> None:
    written = 0
    for count in (3, 40, 111):
        command = [sys.executable, "-c", _APPENDS_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(count):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            # What it had written by then stands in the pipe.
            written += count + len(process.stdout.read().splitlines())
        one = Opened(tmp_path)
        kept = one.numbers()
        assert kept == list(range(len(kept)))
        assert written <= len(kept) <= written + 1  # killed after the write, before it could say so
        written = len(kept)
        assert one.said == []
        one.spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"PK\x03\x04" + data[4:], id="no database"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda data: data[:8192] + b"\xff" * 4096 + data[12288:], id="a page of garbage"),
        pytest.param(lambda data: data[:-4096] + b"\xff" * 4096, id="garbage where only the check looks"),
    ],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(opened: Opened, damage: object) -> None:
    opened.fill(range(50), value_bytes=9_000)
    opened.spool.close()
    file = opened.directory / FILE
    broken = damage(file.read_bytes())  # type: ignore[operator]  # pytest's parameters have no type
    file.write_bytes(broken)
    again = Opened(opened.directory)
    (said,) = again.said
    aside = opened.directory / f"{FILE}.damaged-1"
    assert str(aside) in said
    assert aside.read_bytes() == broken
    assert again.count("damaged_total") == 1
    again.fill(range(2))
    assert again.numbers() == [0, 1]
    again.spool.close()


def test_a_file_that_breaks_while_it_is_used_is_set_aside_and_ids_go_on(opened: Opened) -> None:
    opened.fill(range(3_000), value_bytes=3_000)  # more than SQLite keeps in memory
    with (opened.directory / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 2_000)
    seen = len(opened.spool.after(0, 10**6))
    opened.fill(range(3))
    assert opened.count("damaged_total") == 1
    assert len(opened.said) == 1
    assert seen == 0
    assert opened.numbers() == [0, 1, 2]
    assert opened.spool.first_id() == 3_001
    assert opened.spool.messages == 3


def test_a_second_damage_does_not_overwrite_what_was_set_aside(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / FILE).write_bytes(b"no database %d" % number + bytes(1000))
        Opened(tmp_path).spool.close()
    assert [(tmp_path / f"{FILE}.damaged-{n}").read_bytes()[:13] for n in (1, 2)] == [
        b"no database 1",
        b"no database 2",
    ]


def test_two_collectors_never_share_a_spool(opened: Opened) -> None:
    with pytest.raises(ConfigError, match="another collector uses it: give each its own"):
        Opened(opened.directory)


def test_a_file_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    later = sqlite3.connect(tmp_path / FILE)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(ConfigError, match="of format 99, this release knows 1: upgrade"):
        Opened(tmp_path)


@pytest.mark.parametrize("name", ["file", "x" * 300], ids=["a file stands there", "a name that is too long"])
def test_a_directory_that_cannot_be_is_a_configuration_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="give a directory that can be written"):
        Opened(tmp_path / name)


def test_nobody_else_may_read_it(opened: Opened) -> None:
    opened.fill(range(1))
    assert opened.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in opened.directory.iterdir()} == {0o600}


def test_what_has_left_is_gone_from_the_file(opened: Opened) -> None:
    opened.spool.append("t", b"s", b"a pseudonym of somebody", 0, "x")
    opened.spool.remove([1])
    opened.spool.close()
    assert b"pseudonym" not in (opened.directory / FILE).read_bytes()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, Trouble.NO_ROOM),
        (sqlite3.SQLITE_IOERR_WRITE, Trouble.NO_ROOM),
        (sqlite3.SQLITE_CORRUPT, Trouble.DAMAGED),
        (sqlite3.SQLITE_NOTADB, Trouble.DAMAGED),
        (sqlite3.SQLITE_BUSY, Trouble.IN_USE),
        (sqlite3.SQLITE_READONLY, Trouble.OTHER),
    ],
)
def test_what_an_error_asks_for(code: int, kind: Trouble) -> None:
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    assert trouble(error) is kind
