"""What other processes cost and count: processor time from /proc, and one counter of a /metrics page."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footfall_cli.children import Child


def wall_s() -> float:
    """Epoch seconds, to be compared with the broker's, on this machine."""
    return time.time()  # noqa: TID251


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Started for the block, and ended with it."""
    child.start()
    try:
        yield child
    finally:
        child.stop()


def pid_of(child: Child) -> int:
    """Number of the process; it must have been started."""
    assert child.process is not None, f"{child.name} was not started"
    return child.process.pid


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, user and system, all threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_threads_s(pid: int, prefix: str) -> float:
    """The same of those of its threads whose name begins so."""
    ticks = 0
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        name, _, fields = path.read_text(encoding="utf-8").partition("(")[2].rpartition(")")
        if name.startswith(prefix):
            ticks += sum(map(int, fields.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def counter(port: int, name: str) -> float:
    """A counter of a process on this machine, summed over its labels; 0 while it does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
