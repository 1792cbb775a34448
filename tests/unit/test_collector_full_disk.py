"""A disk that fills up under the spool: the oldest go and are counted, or the process says that it cannot go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.reserve import RESERVE_BYTES, Reserve
from footfall_collectors.spool import Bounds, Spool, SpoolBroken
from footfall_events.errors import ConfigError, FootfallError
from prometheus_client import CollectorRegistry

WIDE = Bounds(most_bytes=10**9, most_age_ms=10**12)
DISK_BYTES = 16 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 16 MB large."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "footfall", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, stdin=subprocess.DEVNULL)


def fill(spool: Spool, numbers: range) -> None:
    for number in numbers:
        spool.append("t", b"s", b"%d|" % number + os.urandom(1_500), number * 5_000, "x")


def numbers(spool: Spool) -> list[int]:
    return [int(message.value.split(b"|")[0]) for message in spool.after(0, 10**6)]


def take_what_is_left(disk: Path) -> None:
    """Somebody else fills the disk."""
    with (disk / "log").open("wb", buffering=0) as log:
        try:
            while log.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass


def dropped(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("footfall_collector_spool_dropped_total", {"reason": "disk_full"}) or 0


@pytest.mark.parametrize("by_others", [False, True], ids=["filled by the spool itself", "filled by others"])
def test_on_a_full_disk_the_oldest_make_room_for_the_newest(disk: Path, by_others: bool) -> None:
    registry = CollectorRegistry()
    spool = Spool(disk / "spool", WIDE, CollectorMetrics(registry), print)
    fill(spool, range(1_000))
    if by_others:
        take_what_is_left(disk)
    fill(spool, range(1_000, 9_000))
    kept = numbers(spool)
    assert len(kept) > 500
    assert kept == list(range(9_000 - len(kept), 9_000))
    assert dropped(registry) == 9_000 - len(kept)
    assert spool.messages == len(kept)
    spool.close()


def test_a_disk_that_has_room_again_is_used_again(disk: Path) -> None:
    registry = CollectorRegistry()
    spool = Spool(disk / "spool", WIDE, CollectorMetrics(registry), print)
    take_what_is_left(disk)
    fill(spool, range(4_000))
    narrow = len(numbers(spool))
    (disk / "log").unlink()
    before = dropped(registry)
    fill(spool, range(4_000, 5_500))
    assert len(numbers(spool)) == narrow + 1_500
    assert dropped(registry) == before
    spool.close()


@pytest.mark.parametrize(
    ("left_bytes", "error"),
    [pytest.param(40_000, SpoolBroken, id="no room to write"), pytest.param(4_000, ConfigError, id="none to begin")],
)
def test_a_disk_that_takes_nothing_at_all_ends_the_process_in_words(
    disk: Path, left_bytes: int, error: type[FootfallError]
) -> None:
    take_what_is_left(disk)
    os.truncate(disk / "log", DISK_BYTES - left_bytes)
    with pytest.raises(error, match="disk is full"):
        fill(Spool(disk / "spool", WIDE, CollectorMetrics(CollectorRegistry()), print), range(1_000))


def test_the_reserve_is_held_only_on_a_disk_with_room(disk: Path) -> None:
    reserve = Reserve(disk / "reserve")
    assert reserve.hold()
    assert (disk / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    reserve.give_up()
    take_what_is_left(disk)
    os.truncate(disk / "log", DISK_BYTES - RESERVE_BYTES * 3 // 2)  # it would fit, and leave next to nothing
    assert not reserve.hold()
    assert not reserve.held
