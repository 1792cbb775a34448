"""What the estimator may know of a store: how much each sensor heard nearby in each minute, by address class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ("random", "stable")
NEAR = 65
"""A burst at or above this many dBm below zero counts as near."""
COLUMNS = tuple(f"{kind}_{what}_{NEAR}" for kind in CLASSES for what in ("addresses", "bursts"))
"""Columns of `sensor_minutes` that are used, each with an equal voice.

Addresses do not tell how often a phone asks, and bursts tell of the chatty ones above all.
"""
PASSING = "random_addresses_all"
"""Column of `Heard.passing`."""
NEAR_RANDOM = COLUMNS.index(f"random_addresses_{NEAR}")
_WHOLE = 0.99
"""Share of a minute from which on a sensor listened to all of it."""
CLASS_OF = tuple(CLASSES.index(column.split("_")[0]) for column in COLUMNS)


@dataclass(frozen=True)
class Heard:
    """One store's minutes without gaps, from `first_minute` (minutes since 1970, UTC) on.

    `near` holds what was counted nearby, shape (minutes, sensors, columns); `listened` the share of each minute
    that a sensor listened, 0 to 1, shape (minutes, sensors). A minute without a row was not listened to.
    `passing` counts random addresses however far, shape (minutes, sensors).
    """

    first_minute: int
    sensors: tuple[str, ...]
    near: NDArray[np.int64]
    listened: NDArray[np.float64]
    passing: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.near)

    @property
    def minutes(self) -> NDArray[np.int64]:
        """Every minute, since 1970."""
        return np.arange(self.first_minute, self.first_minute + len(self))


def heard(rows: Iterable[Mapping[str, Any]]) -> Heard:
    """Rows of `sensor_minutes` of one store, in any order; rows of several boots of a minute are summed."""
    found = list(rows)
    if not found:
        return Heard(0, (), np.zeros((0, 0, len(COLUMNS)), np.int64), np.zeros((0, 0)), np.zeros((0, 0), np.int64))
    sensors = tuple(sorted({row["sensor_id"] for row in found}))
    minutes = [minute_of(row["minute"]) for row in found]
    first, last = min(minutes), max(minutes)
    near = np.zeros((last - first + 1, len(sensors), len(COLUMNS)), np.int64)
    listened = np.zeros(near.shape[:2])
    passing = np.zeros(near.shape[:2], np.int64)
    for minute, row in zip(minutes, found, strict=True):
        place = minute - first, sensors.index(row["sensor_id"])
        near[place] += [row[column] for column in COLUMNS]
        listened[place] += row["listening_s"] / 60
        passing[place] += row[PASSING]
    return Heard(first, sensors, near, np.minimum(listened, 1.0), passing)


def hearing(parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> float:
    """How many sensors hear what any of them hears, on average: from 1, nothing in common, to their number.

    Of each part counts of random addresses and `listened`, shape (minutes, sensors). No address is compared: where
    sensors hear the same phones their counts rise and fall together from one minute to the next.
    """
    counted = alike = 0.0
    sensors = 1
    for counts, listened in parts:
        steady = (listened[1:] > _WHOLE) & (listened[:-1] > _WHOLE)
        change = np.diff(counts, axis=0) * steady
        counted += float((counts[1:] * steady).sum())
        # Over all pairs, of half the product of their changes.
        alike += float((change.sum(axis=1) ** 2 - (change**2).sum(axis=1)).sum()) / 4
        sensors = max(sensors, int(steady.sum(axis=1).max(initial=0)))
    # An address that several hear counts as often among the counted. Heard by one or by all: two unknowns, two sums.
    others = 2 * alike / max(counted, 1.0)
    return min(max(sensors / max(sensors - others, 1.0), 1.0), float(sensors))


def minute_of(start: datetime) -> int:
    """Minutes since 1970, UTC."""
    return int(start.timestamp()) // 60
