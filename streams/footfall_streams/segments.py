"""Rows that have the same values in some columns: runs of them, places of them, the last of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def run_starts(columns: Iterable[NDArray[Any]], length: int) -> NDArray[np.bool_]:
    """True where a row differs from the one before it in any column, and on the first row."""
    starts = np.zeros(length, bool)
    starts[:1] = True
    for column in columns:
        starts[1:] |= column[1:] != column[:-1]
    return starts


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Each value once, ascending. Sorting is several times as fast as the hash table of `np.unique`."""
    ordered = np.sort(values)
    return ordered[run_starts([ordered], len(ordered))]


def stretches(values: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Each value of an ascending column, with the first of its places and the one behind the last."""
    heads = np.flatnonzero(run_starts([values], len(values)))
    ends = np.append(heads, len(values))[1:]
    return list(zip(values[heads].tolist(), heads.tolist(), ends.tolist(), strict=True))


def last_of_each(keys: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Places of the last row of each distinct key, ascending."""
    order = np.lexsort(keys)
    starts = run_starts((key[order] for key in keys), len(order))
    return np.sort(order[np.append(starts[1:], True)[: len(order)]])
