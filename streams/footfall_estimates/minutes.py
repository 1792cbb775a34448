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
CLASS_OF = tuple(CLASSES.index(column.split("_")[0]) for column in COLUMNS)


@dataclass(frozen=True)
class Heard:
    """One store's minutes without gaps, from `first_minute` (minutes since 1970, UTC) on.

    `near` holds what was counted nearby, shape (minutes, sensors, columns); `listened` the share of each minute
    that a sensor listened, 0 to 1, shape (minutes, sensors). A minute without a row was not listened to.
    """

    first_minute: int
    sensors: tuple[str, ...]
    near: NDArray[np.int64]
    listened: NDArray[np.float64]

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
        return Heard(0, (), np.zeros((0, 0, len(COLUMNS)), np.int64), np.zeros((0, 0)))
    sensors = tuple(sorted({row["sensor_id"] for row in found}))
    minutes = [minute_of(row["minute"]) for row in found]
    first, last = min(minutes), max(minutes)
    near = np.zeros((last - first + 1, len(sensors), len(COLUMNS)), np.int64)
    listened = np.zeros(near.shape[:2])
    for minute, row in zip(minutes, found, strict=True):
        place = minute - first, sensors.index(row["sensor_id"])
        near[place] += [row[column] for column in COLUMNS]
        listened[place] += row["listening_s"] / 60
    return Heard(first, sensors, near, np.minimum(listened, 1.0))


def minute_of(start: datetime) -> int:
    """Minutes since 1970, UTC."""
    return int(start.timestamp()) // 60
