"""How far estimates are from the truth, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from footfall_estimates.minutes import Heard
from footfall_estimates.occupancy import Occupancy

Floats = NDArray[np.float64]

TAIL = 0.025
"""What an interval leaves out at each end."""


@dataclass(frozen=True)
class Windows:
    """Estimates by UTC-aligned window, parallel columns: number since 1970, people restated and live, 95 % interval."""

    numbers: NDArray[np.int64]
    people: Floats
    live: Floats
    lo: Floats
    hi: Floats


def joined(parts: Sequence[Windows]) -> Windows:
    """The windows of several days together."""
    columns = ("numbers", "people", "live", "lo", "hi")
    return Windows(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


def in_windows(heard: Heard, occupancy: Occupancy, length_min: int) -> Windows:
    """Means over windows; those of which less than half was listened to by any sensor are left out.

    The interval holds 95 % of the probabilities of all minutes of the window together, and the estimate.
    """
    numbers, places = np.unique(heard.minutes // length_min, return_inverse=True)
    listened = np.bincount(places, heard.listened.max(axis=1, initial=0.0))
    kept = listened >= length_min / 2
    history, live = (_means(shares, places, len(numbers))[kept] for shares in (occupancy.history, occupancy.live))
    below = history.cumsum(axis=1)
    top = len(occupancy.levels) - 1
    lo = occupancy.levels[np.minimum((below < TAIL).sum(axis=1), top)]
    hi = occupancy.levels[np.minimum((below < 1 - TAIL).sum(axis=1), top)]
    people = history @ occupancy.levels
    return Windows(numbers[kept], people, live @ occupancy.levels, np.minimum(lo, people), np.maximum(hi, people))


def _means(shares: Floats, places: NDArray[np.int64], count: int) -> Floats:
    total = np.zeros((count, shares.shape[1]))
    np.add.at(total, places, shares)
    means: Floats = total / np.bincount(places)[:, None]
    return means


def scores(windows: Windows, truth: Mapping[int, float]) -> dict[str, float | int | None]:
    """Errors in people over the windows that both have; what cannot be told (no window, no variance) is None.

    `mape` leaves windows out in which nobody was there; `mae` is of the restated history, `mae_live` of the gauge.
    """
    both = [place for place, number in enumerate(windows.numbers.tolist()) if number in truth]
    if not both:
        return {"windows": 0, **dict.fromkeys(_SCORES)}
    people = np.array([truth[number] for number in windows.numbers[both].tolist()])
    estimate = windows.people[both]
    error = estimate - people
    some = people > 0
    covered = (windows.lo[both] <= people) & (people <= windows.hi[both])
    varies = people.std() > 0 and estimate.std() > 0
    values = (
        np.abs(error).mean(),
        np.abs(windows.live[both] - people).mean(),
        np.sqrt((error**2).mean()),
        np.abs(error[some] / people[some]).mean() if some.any() else None,
        error.mean(),
        covered.mean(),
        np.corrcoef(people, estimate)[0, 1] if varies else None,
        people.mean(),
        estimate.mean(),
    )
    rounded = [None if value is None else round(float(value), 4) for value in values]
    return {"windows": len(both), **dict(zip(_SCORES, rounded, strict=True))}


_SCORES = ("mae", "mae_live", "rmse", "mape", "bias", "coverage_95", "correlation", "mean_truth", "mean_estimate")
