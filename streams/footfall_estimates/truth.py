"""People really inside, as a camera or a person with a clicker wrote them down."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

_SPAN = ("from_epoch_utc", "to_epoch_utc")


@dataclass(frozen=True)
class Level:
    """So many people from a moment to another, seconds since 1970, UTC."""

    from_s: float
    to_s: float
    people: float


def read_levels(path: Path) -> list[Level]:
    """The segments of a truth file, by time; those whose occupancy is empty or `nan` are gaps.

    Raises ConfigError with every line that cannot be: overlaps, ends before it begins, negative, no number.
    """
    return [level for level in _read(path, ("occupancy",), _level) if not math.isnan(level.people)]


def read_flow(path: Path) -> list[Level]:
    """People inside from a door counter's `entries` and `exits`, nobody at the file's start; else as `read_levels`.

    A segment's level is the mean of those at its ends. More exits than people inside leave nobody.
    """
    inside = 0.0

    def level(row: Mapping[str, str]) -> Level:
        nonlocal inside
        entries, exits = (float(row[name] or 0) for name in ("entries", "exits"))
        if not (entries >= 0 and exits >= 0 and entries.is_integer() and exits.is_integer()):
            raise ValueError("entries and exits must be whole numbers, 0 or more")
        before, inside = inside, max(0.0, inside + entries - exits)
        return Level(*_span(row), (before + inside) / 2)

    return _read(path, ("entries", "exits"), level)


def _read(path: Path, columns: Sequence[str], level: Callable[[Mapping[str, str]], Level]) -> list[Level]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    missing = [column for column in (*_SPAN, *columns) if column not in names]
    if missing:
        raise ConfigError([f"{path}:1: needs the columns {', '.join((*_SPAN, *columns))}; no {', '.join(missing)}"])
    problems: list[str] = []
    levels: list[Level] = []
    for line, row in rows:
        try:
            found = level(row)
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
            continue
        if levels and found.from_s < levels[-1].to_s:
            problems.append(f"{path}:{line}: begins before the line above it ends")
        levels.append(found)
    if problems:
        raise ConfigError(problems)
    return levels


def _span(row: Mapping[str, str]) -> tuple[float, float]:
    from_s, to_s = float(row["from_epoch_utc"]), float(row["to_epoch_utc"])
    if not (math.isfinite(from_s) and math.isfinite(to_s)):
        raise ValueError("from_epoch_utc and to_epoch_utc must be seconds since 1970")
    if to_s < from_s:
        raise ValueError("ends before it begins")
    return from_s, to_s


def _level(row: Mapping[str, str]) -> Level:
    people = float(row["occupancy"] or "nan")
    if people < 0 or math.isinf(people):
        raise ValueError(f"occupancy {people:g} must be 0 or more")
    return Level(*_span(row), people)


def windows(levels: Iterable[Level], length_s: int) -> dict[int, float]:
    """Time-weighted mean of every window with at least half its time covered, by window number since 1970."""
    covered: dict[int, float] = {}
    people: dict[int, float] = {}
    for level in levels:
        for window in range(int(level.from_s // length_s), int(-(-level.to_s // length_s))):
            lasted = min(level.to_s, (window + 1) * length_s) - max(level.from_s, window * length_s)
            covered[window] = covered.get(window, 0.0) + lasted
            people[window] = people.get(window, 0.0) + lasted * level.people
    return {window: people[window] / s for window, s in covered.items() if s >= length_s / 2}


def at_minutes(levels: Sequence[Level], minutes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The level at the start of each minute; NaN where none is known, but for gaps of less than a minute."""
    if not levels:
        return np.full(len(minutes), np.nan)
    starts_s = minutes * 60
    places = np.searchsorted([level.from_s for level in levels], starts_s, side="right") - 1
    known = np.array([level.people for level in levels], dtype=float)[places]
    known[(places < 0) | (np.array([level.to_s for level in levels])[places] + 60 < starts_s)] = np.nan
    return known
