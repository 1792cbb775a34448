"""People really inside, as a camera or a person with a clicker wrote them down."""

from __future__ import annotations

import csv
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

_SPAN = ("from_epoch_utc", "to_epoch_utc")
_LONGEST_S = 7 * 86_400
"""A line that lasts longer is taken for a mistyped one."""
_LATEST_S = 1e11
"""The year 5138 in seconds, 1973 in milliseconds."""


@dataclass(frozen=True)
class Level:
    """So many people from a moment to another, seconds since 1970, UTC."""

    from_s: float
    to_s: float
    people: float


def read_levels(path: Path) -> list[Level]:
    """The segments of a truth file, by time; those whose occupancy is empty or `nan` are gaps.

    A column `staff`, if there is one, tells how many of them are staff: they are left out. Raises ConfigError with
    every line that cannot be: overlaps, ends before it begins, negative, no number, more staff than people.
    """
    return [level for level in _read(path, ("occupancy",), _level) if not math.isnan(level.people)]


def read_flow(path: Path) -> tuple[list[Level], list[str]]:
    """People inside from a door counter's `entries` and `exits`, nobody at the file's start; else as `read_levels`.

    A segment's level is the mean of those at its ends. More exits than people inside leave nobody: the second result
    is a remark on them, with the first line that has such.
    """
    inside = 0.0
    unknown: dict[int, float] = {}

    def level(line: int, row: Mapping[str, str]) -> Level:
        nonlocal inside
        entries, exits = (float(row[name] or 0) for name in ("entries", "exits"))
        if not (entries >= 0 and exits >= 0 and entries.is_integer() and exits.is_integer()):
            raise ValueError("entries and exits must be whole numbers, 0 or more")
        before, after = inside, inside + entries - exits
        inside = max(0.0, after)
        if after < 0:
            unknown[line] = -after
        return Level(*_span(row), (before + inside) / 2)

    levels = _read(path, ("entries", "exits"), level)
    return levels, [_left_unseen(path, unknown)] if unknown else []


def _left_unseen(path: Path, unknown: Mapping[int, float]) -> str:
    return (
        f"{path}:{min(unknown)}: from here on {sum(unknown.values()):.0f} people left who had not come in: "
        "those who are inside at the start must be entries of the first line"
    )


def _read(path: Path, columns: Sequence[str], level: Callable[[int, Mapping[str, str]], Level]) -> list[Level]:
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
            found = level(line, row)
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
    if not all(0 <= moment_s < _LATEST_S for moment_s in (from_s, to_s)):
        hint = ", not milliseconds" if _LATEST_S <= max(from_s, to_s) < math.inf else ""
        raise ValueError(f"from_epoch_utc and to_epoch_utc must be seconds since 1970{hint}")
    if to_s < from_s:
        raise ValueError("ends before it begins")
    if to_s - from_s > _LONGEST_S:
        raise ValueError(f"lasts {(to_s - from_s) / 86_400:.1f} days: a line tells of a week at most")
    return from_s, to_s


def _level(_line: int, row: Mapping[str, str]) -> Level:
    people = float(row["occupancy"] or "nan")
    if people < 0 or math.isinf(people):
        raise ValueError(f"occupancy {people:g} must be 0 or more")
    staff = float(row.get("staff") or 0)
    if not (0 <= staff <= people or math.isnan(people)):
        raise ValueError(f"staff {staff:g} must be 0 or more, and no more than the occupancy")
    return Level(*_span(row), people - staff)


def within(levels: Sequence[Level], from_s: float, to_s: float) -> list[Level]:
    """What `levels`, in their order and without overlaps, tell of a time; those at its ends are cut."""
    first = bisect_right(levels, from_s, key=lambda level: level.to_s)
    last = bisect_left(levels, to_s, key=lambda level: level.from_s)
    return [
        replace(level, from_s=max(level.from_s, from_s), to_s=min(level.to_s, to_s)) for level in levels[first:last]
    ]


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
