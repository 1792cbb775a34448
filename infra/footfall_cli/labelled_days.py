"""Matches captures with the people that were really there, by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from footfall_estimates.fit import Labelled
from footfall_estimates.truth import Level, read_flow, read_levels
from footfall_events.errors import ConfigError

from footfall_cli.captures_heard import Day

_HOUR_S = 3600
_ZONES = [quarter * 900 for quarter in range(-14 * 4, 14 * 4 + 1) if quarter]


def labelled(days: Sequence[Day], truths: Sequence[Path], *, flow: bool) -> tuple[list[Labelled], list[str]]:
    """Every day that a truth file covers, and a remark on each file that was left out.

    Raises ConfigError for a truth file that is wrong, or that meets no capture, with the hours it seems to be off.
    """
    read = read_flow if flow else read_levels
    problems: list[str] = []
    remarks: list[str] = []
    levels: dict[Path, list[Level]] = {}
    for path in truths:
        try:
            levels[path] = read(path)
        except ConfigError as error:
            problems += error.problems
    spans = [(day.heard.first_minute * 60, (day.heard.first_minute + len(day.heard)) * 60) for day in days]
    problems += [_off(path, found, spans) for path, found in levels.items() if found and not _meets(found, spans, 0)]
    if problems:
        raise ConfigError(problems)
    made = []
    for day, span in zip(days, spans, strict=True):
        chosen: list[Level] = []
        for path, found in levels.items():
            here = [level for level in found if level.to_s > span[0] and level.from_s < span[1]]
            if here and any(a.from_s < b.to_s and b.from_s < a.to_s for a in here for b in chosen):
                remarks.append(f"{path}: tells of the same time as another truth file, left out")
            else:
                chosen += here
        if chosen:
            ordered = sorted(chosen, key=lambda level: level.from_s)
            made.append(Labelled(", ".join(day.files), day.heard, ordered))
        else:
            remarks.append(f"{', '.join(day.files)}: no truth file tells of that time, left out")
    return made, remarks


def _meets(levels: Sequence[Level], spans: Sequence[tuple[int, int]], shift_s: int) -> bool:
    return any(
        level.from_s + shift_s < end and level.to_s + shift_s > begin for level in levels for begin, end in spans
    )


def _off(path: Path, levels: Sequence[Level], spans: Sequence[tuple[int, int]]) -> str:
    for shift_s in sorted(_ZONES, key=abs):
        if _meets(levels, spans, shift_s):
            when = f"{abs(shift_s) / _HOUR_S:g} h {'earlier' if shift_s < 0 else 'later'}"
            return f"{path}:2: tells of no time that a capture heard, but would {when}: its times must be UTC"
    return f"{path}:2: tells of no time that a capture heard (from {levels[0].from_s:.0f} s since 1970, UTC)"
