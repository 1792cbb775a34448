"""Rows that have the same values in some columns: runs of them, places of them, the last of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 4


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


def ranges(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each `low` to below its `high`, one range behind the other."""
    counts = high - low
    numbers: NDArray[np.int64] = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return numbers


class Groups:
    """Rows in groups, most of them of a few rows: what `reduceat` says of each, at a third of its cost.

    `order` has the places of the rows, one group behind the other; each group begins at one of `heads`.
    """

    def __init__(self, order: NDArray[np.int64], heads: NDArray[np.int64]) -> None:
        self.heads = heads
        self.lengths = np.diff(heads, append=len(order))
        self.first = order[heads]
        self._next: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for number in range(1, _FEW):
            groups = np.flatnonzero(self.lengths > number)
            self._next.append((groups, order[heads[groups] + number]))
        self._large = np.flatnonzero(self.lengths > _FEW)
        rest = self.lengths[self._large] - _FEW
        self._rest_heads = np.cumsum(rest) - rest
        begins = heads[self._large] + _FEW
        self._rest = order[ranges(begins, begins + rest)]

    def reduce(self, function: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """`function` over the values of each group; `values` are in the order of the rows themselves."""
        found: NDArray[Any] = values[self.first]
        for groups, places in self._next:
            found[groups] = function(found[groups], values[places])
        if len(self._large):
            rest = function.reduceat(values[self._rest], self._rest_heads)
            found[self._large] = function(found[self._large], rest)
        return found


def last_of_each(keys: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Places of the last row of each distinct key, ascending."""
    order = np.lexsort(keys)
    starts = run_starts((key[order] for key in keys), len(order))
    return np.sort(order[np.append(starts[1:], True)[: len(order)]])
