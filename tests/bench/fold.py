"""Where the worker's time goes: the fold alone, in this process, with a stopwatch at each of its parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from footfall_streams import fold
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.minutes import Minutes
from footfall_streams.partitioning import partition_of
from footfall_streams.presences import Presences

from tests.bench.broker import PARTITIONS
from tests.bench.report import Figure, Report, Say
from tests.bench.streams import Case, cases

_PARTS: tuple[tuple[str, Any, str], ...] = (
    ("read and judge batches", fold, "read_batches"),
    ("run the clocks", StoreJob, "_schedule"),
    ("make rows of sightings", StoreJob, "_sightings"),
    ("set aside and recall what has settled", Presences, "recall"),
    ("set aside and recall what has settled", Presences, "settle"),
    ("set aside and recall what has settled", Minutes, "settle"),
    ("merge sightings into presences", Presences, "merge"),
    ("count minutes", fold, "add_fold"),
    ("count minutes", fold, "add_points"),
    ("count minutes", Minutes, "apply"),
    ("hear and publish minutes", StoreJob, "_hear"),
    ("hear and publish minutes", StoreJob, "_publish"),
    ("write visits", StoreJob, "_write_visits"),
    ("write minutes", StoreJob, "_write_minutes"),
    ("write state", StoreJob, "_write_state"),
)
"""None of them calls another."""
_ALL, _REST = "all of it", "the rest"
_WORK = """
The fold of `footfall stream` by itself, without Kafka and Faust: steps as in `streams`, from nothing. In the worker
come fetching, Faust and the transactions, beside it where cores are free.
"""


def run(quick: bool, say: Say) -> Report:
    """Each case of the usual 500 stores."""
    figures: list[Figure] = []
    for case in [case for case in cases(quick) if case.workload.stores == 500]:
        log = list(case.workload.batches(case.rows_a_batch))
        spent = [_fold(case, log) for _ in range(2 if quick else 3)]
        for part in spent[0]:
            seconds = tuple(one[part] / case.workload.sightings * 1e6 for one in spent)
            figures.append(Figure(case.name, part, "s a million sightings", seconds))
        say(f"{case.name}: {min(one[_ALL] for one in spent) / case.workload.sightings * 1e6:.2f} s a million")
    return Report("fold", _WORK, tuple(figures))


def _fold(case: Case, log: list[tuple[bytes, bytes]]) -> dict[str, float]:
    """Seconds of each part, of the rest, and of all."""
    job = StoreJob(case.workload.chain, lambda key: partition_of(key, PARTITIONS))
    messages, ends = [], Counter[int]()
    for key, value in log:
        partition = partition_of(key, PARTITIONS)
        messages.append(Message(partition, ends[partition], key, value, 2**42))
        ends[partition] += 1
    spent = dict.fromkeys([_ALL, *(part for part, _, _ in _PARTS), _REST], 0.0)
    with _stopwatches(spent):
        began = time.perf_counter()
        for begin in range(0, len(messages), case.chunk):
            job.take(messages[begin : begin + case.chunk])
        spent[_ALL] = time.perf_counter() - began
    spent[_REST] = 2 * spent[_ALL] - sum(spent.values())
    return spent


@contextmanager
def _stopwatches(spent: dict[str, float]) -> Iterator[None]:
    with ExitStack() as stack:
        for part, owner, name in _PARTS:
            stack.enter_context(patch.object(owner, name, _timed(getattr(owner, name), spent, part)))
        yield


def _timed(call: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            spent[part] += time.perf_counter() - began

    return timed
