"""What a worker's state costs: memory at a million presences, time in transactions, time to take it over."""

from __future__ import annotations

import re
import time
from pathlib import Path

from footfall_events.topics import SIGHTINGS
from footfall_streams.presences import PRESENCE

from tests.bench.broker import OUTPUTS, broker, fill, renew
from tests.bench.processes import pid_of
from tests.bench.report import Figure, Report, Say, at_most
from tests.bench.streams import Working, check_visits, progress, wait_for, working
from tests.bench.workload import Workload

_WORK = """
One `footfall stream` process works off a day of 500 stores that leaves a million presences, closed ones included: all
lie within the revision horizon of 24 hours, so that all are kept. Its memory is what Linux counts as resident, some
seconds after the last step and at its highest. Transactions go on beside the next fold: what they take from the worker
is the time for which a fold waited for them, of the time between the first checkpoint and the last. Then another
process takes the state over: from its start to owning every partition with all presences, beside a worker that finds
nothing to restore. The visits must equal the sessions worked out from sightings.
"""

_REST_S = 5.0


def run(quick: bool, say: Say) -> Report:
    devices, chunk = (154_000, 400) if quick else (770_000, 2_000)
    workload = Workload(stores=500, devices=devices, sightings=4 * devices, hours=12)
    figures = []

    def note(name: str, unit: str, value: float) -> float:
        say(f"{name}: {value:,.4g} {unit}")
        figures.append(Figure(f"{len(workload.sessions):,} presences", name, unit, (value,)))
        return value

    with broker() as (kafka, directory):
        renew(kafka, [SIGHTINGS.name, *OUTPUTS])
        empty_s = _restoring(kafka, directory, workload, 0)
        renew(kafka, OUTPUTS)
        fill(kafka, SIGHTINGS.name, workload.batches(200))
        settings = {"FOOTFALL_CHUNK_MESSAGES": str(chunk)}
        with working(kafka, directory, workload.toml, settings=settings) as worker:
            wait_for([worker], "sightings_total", workload.sightings)
            assert worker.metric("presences") == len(workload.sessions)
            steps = progress(kafka)
            waited_s = worker.metric("commit_wait_seconds_total")
            beside_s = worker.metric("commit_seconds_sum")
            time.sleep(_REST_S)
            peak_mb, resident_mb = _memory_mb(worker, "VmHWM"), _memory_mb(worker, "VmRSS")
        check_visits(kafka, workload)
        restored_s = _restoring(kafka, directory, workload, len(workload.sessions))
    targets = [
        at_most("bytes of a presence in memory", 100, note("a presence", "bytes", PRESENCE.itemsize)),
        at_most(f"MB resident at {len(workload.sessions):,} presences", 500, note("resident", "MB", resident_mb)),
    ]
    note("resident at its highest, while working off", "MB", peak_mb)
    elapsed_s = steps[-1][0] - steps[0][0]
    share = note("waiting for transactions", "of the time", waited_s / elapsed_s)
    note("transactions under way", "of the time", beside_s / elapsed_s)
    targets.append(at_most("share of time that transactions take from the worker", 0.15, share))
    targets.append(at_most("seconds to restore", 20, note("start and restore", "s", restored_s)))
    note("start with nothing to restore", "s", empty_s)
    return Report("growth", _WORK, tuple(figures), tuple(targets))


def _restoring(kafka: str, directory: Path, workload: Workload, presences: int) -> float:
    """Seconds from a process's start until it owns every partition and has all presences."""
    began = time.monotonic()
    with working(kafka, directory, workload.toml) as worker:
        wait_for([worker], "partitions", 1, every_s=0.05)
        wait_for([worker], "presences", presences, every_s=0.05)
        return time.monotonic() - began


def _memory_mb(worker: Working, field: str) -> float:
    status = Path(f"/proc/{pid_of(worker.child)}/status").read_text(encoding="utf-8")
    (kilobytes,) = re.findall(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) / 1000
