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


def places_of_each(values: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each distinct value, ascending, with the places where it stands."""
    order = np.argsort(values, kind="stable")
    unique, heads = np.unique(values[order], return_index=True)
    return list(zip(unique.tolist(), np.split(order, heads[1:]), strict=False)) if len(unique) else []


def last_of_each(keys: list[NDArray[np.generic]]) -> NDArray[np.int64]:
    """Places of the last row of each distinct key, ascending."""
    order = np.lexsort(keys)
    starts = run_starts((key[order] for key in keys), len(order))
    return np.sort(order[np.append(starts[1:], True)[: len(order)]])
