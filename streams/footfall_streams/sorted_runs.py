"""Many rows that seldom change, found by their keys: sorted runs, merged as they come, as in a log-structured tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.segments import ranges

_SMALLEST = 4096
_TIMES = 8


class SortedRuns:
    """Rows with a `key`, in `runs` that are sorted by it.

    Eight runs of a size become one of the next, so that a row is moved once for each size, however many are added
    later: three times while there are a million, in some twenty runs.
    """

    def __init__(self) -> None:
        self.runs: list[Columns] = []

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(self, rows: Columns) -> None:
        """Add rows that are sorted by key."""
        self.runs = [run for run in [*self.runs, rows] if len(run)]
        least, most = 0, _SMALLEST
        while least < len(self):
            alike = [run for run in self.runs if least < len(run) <= most]
            if len(alike) >= _TIMES:
                self.runs = [run for run in self.runs if not least < len(run) <= most]
                self.runs.append(Columns.sorted_by("key", alike))
            least, most = most, most * _TIMES

    def find(
        self, lowest: NDArray[Any], highest: NDArray[Any]
    ) -> Iterator[tuple[Columns, NDArray[np.int64], NDArray[np.int64]]]:
        """Where keys lie within ranges, which ascend, bounds included: each run, places in it, and each row's range."""
        for run in self.runs:
            low = np.searchsorted(run["key"], lowest, "left")
            high = np.searchsorted(run["key"], highest, "right")
            yield run, ranges(low, high), np.repeat(np.arange(len(lowest)), high - low)
