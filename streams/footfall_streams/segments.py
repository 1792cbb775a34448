"""Runs of equal rows in sorted columns."""

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
