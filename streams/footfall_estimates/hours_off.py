"""Whether a truth's times are hours off, like local time written as UTC: where would it fit what was heard better?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from footfall_estimates.minutes import Heard
from footfall_estimates.truth import Level, windows, within

_HOUR_S = 3600
_PARTS_H = (3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75)
"""Distances of zones from UTC that are no whole hours (IANA time zone database, 2024)."""
ZONES_S = tuple(int(sign * hours * _HOUR_S) for hours in sorted((*range(1, 15), *_PARTS_H)) for sign in (-1, 1))
"""What a truth's times may be off by, the least first."""

_SMOOTH_MIN = 10
"""About how long one phone's chatter or silence lasts."""
# Chosen with the Brno captures and simulated days at hand. No three hours or more of a real day are taken to be off,
# and 3 of 6400 simulated truths. Of those that are an hour or two off and whose phones are heard well, four in five
# are found if they tell of twelve hours, two in five if of three.
_LEAST_MIN = 180
_GOOD, _POOR = 0.65, 0.55
_LESS_UNEXPLAINED = 2.5
_COVER = 0.9

Floats = NDArray[np.float64]
Minutes = NDArray[np.int64]


@dataclass(frozen=True)
class _Fit:
    """How well people tell what was heard, in the minutes known of both: shares of its variance, 1 at best.

    `line` is of the best straight line, 0 where it falls; `rate` of a rate per person without a background, which asks
    for more: that not any rise looks like another.
    """

    minutes: int
    line: float
    rate: float


def better_shift_s(levels: Sequence[Level], days: Sequence[Heard]) -> int | None:
    """By how much the times would have to move to fit far better; None if they may be right, or too little is known.

    A truth that fits fairly where it is, like a smooth day's an hour off, less than three hours in common, or a move
    out of what was heard say nothing.
    """
    people, loud = _people(levels, days), _loudness(days)
    stated = _fit(people, loud, 0)
    if stated.line >= _POOR:
        return None
    moved = {shift_s: _fit(people, loud, shift_s // 60) for shift_s in ZONES_S}
    found = {shift_s: fit.rate for shift_s, fit in moved.items() if _is_far_better(fit, stated)}
    return max(found, key=found.__getitem__, default=None)


def _is_far_better(moved: _Fit, stated: _Fit) -> bool:
    return (
        moved.minutes >= max(_LEAST_MIN, _COVER * stated.minutes)
        and moved.rate >= _GOOD
        and 1 - stated.line >= _LESS_UNEXPLAINED * (1 - moved.rate)
    )


def _people(levels: Sequence[Level], days: Sequence[Heard]) -> tuple[Minutes, Floats]:
    """People by minute, wherever a shift may bring them to what was heard."""
    known: dict[int, float] = {}
    for heard in days:
        begin, end = heard.first_minute * 60, (heard.first_minute + len(heard)) * 60
        known |= windows(within(levels, begin - max(ZONES_S), end + max(ZONES_S)), 60)
    minutes = sorted(known)
    return np.array(minutes, dtype=np.int64), np.array([known[minute] for minute in minutes])


def _loudness(days: Sequence[Heard]) -> tuple[Minutes, Floats]:
    """What a sensor counts nearby in a minute, smoothed, by minute listened to."""
    known: dict[int, float] = {}
    for heard in filter(len, days):
        listened = heard.listened.sum(axis=1)
        smooth = _smoothed(heard.near.sum(axis=(1, 2))) / np.maximum(_smoothed(listened), 1e-9)
        known |= dict(zip(heard.minutes[listened > 0].tolist(), smooth[listened > 0].tolist(), strict=True))
    minutes = sorted(known)
    return np.array(minutes, dtype=np.int64), np.array([known[minute] for minute in minutes])


def _smoothed(values: NDArray[np.int64] | Floats) -> Floats:
    found: Floats = np.convolve(values.astype(float), np.ones(_SMOOTH_MIN), "same")[: len(values)]
    return found


def _fit(people: tuple[Minutes, Floats], loud: tuple[Minutes, Floats], shift_min: int) -> _Fit:
    both, of_people, of_loud = np.intersect1d(people[0] + shift_min, loud[0], assume_unique=True, return_indices=True)
    there, counted = people[1][of_people], loud[1][of_loud]
    if len(both) == 0 or np.ptp(there) == 0 or np.ptp(counted) == 0:
        return _Fit(len(both), 0.0, 0.0)
    line = max(0.0, float(np.corrcoef(there, counted)[0, 1])) ** 2
    off = counted - there * (there @ counted) / (there @ there)
    return _Fit(len(both), line, 1 - float(off @ off) / float(counted.var() * len(both)))
