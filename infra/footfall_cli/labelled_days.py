"""Matches what was heard, in captures or in ClickHouse, with the people who were really there, by time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from footfall_estimates.fit import Labelled
from footfall_estimates.hours_off import ZONES_S, better_shift_s
from footfall_estimates.truth import Level, read_flow, read_levels, within
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import Client, heard_between
from rich.console import Console

from footfall_cli.captures_heard import Day, read_days

_HOUR_S = 3600

Truths = Mapping[Path, Sequence[Level]]
"""What each truth file tells, by time."""


@dataclass(frozen=True)
class Known:
    """The days whose people are known, what to say of truths that seem to be hours off, and if all could be read."""

    days: list[Labelled]
    hours_off: list[str]
    is_whole: bool


def add_truth_arguments(parser: argparse.ArgumentParser, *, needed: bool) -> None:
    """What `calibrate` and `evaluate` want to know of the people."""
    told = "people inside, matched by time"
    parser.add_argument("--truth", action="append", required=needed, type=Path, metavar="T.csv", help=told)
    parser.add_argument("--flow", action="store_true", help="the truth is a door counter's: entries and exits")
    parser.add_argument("--ignore-oui", action="append", default=[], metavar="XX:XX:XX", help="leave equipment out")


def check_writable(path: Path) -> None:
    """Raise ConfigError before any work is done for a file that cannot be written, as far as can be known."""
    with written(path):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise ConfigError([f"{path}: cannot be written: its directory must exist"])
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise ConfigError([f"{path}: cannot be written: no permission"])


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Within it, whatever keeps the file from being written is a ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror or error}"]) from error


def known_from_files(args: argparse.Namespace, store_id: str) -> Known:
    """The days of captures whose people are known; what was left out is said."""
    days, warnings = read_days(args.files, store_id, args.ignore_oui, Console(stderr=True))
    say(warnings)
    if not days:
        raise ConfigError(["no capture holds a frame"])
    known = _known(days, _read(args), is_whole=not warnings)
    used = {day.heard.first_minute for day in known.days}
    left_out = [_name(day) for day in days if day.heard.first_minute not in used]
    say(f"{name}: no truth file tells of that time, left out" for name in left_out)
    return known


def known_from_minutes(args: argparse.Namespace, client: Client) -> Known:
    """The same from a store's minutes in ClickHouse, each business date a day."""
    if args.ignore_oui:
        raise ConfigError(["--ignore-oui goes with captures: minutes leave out what the store's ignored_ouis say"])
    truths = _read(args)
    levels = [level for of_file in truths.values() for level in of_file]
    if not levels:
        raise ConfigError(["the truth knows of no time"])
    begin, end = min(level.from_s for level in levels), max(level.to_s for level in levels)
    # The hours about it tell by how much a truth is off.
    found = heard_between(client, args.store, max(0, begin - max(ZONES_S)), end + max(ZONES_S))
    if not found:
        raise ConfigError([f"store {args.store!r} has no minutes in the time that the truth tells of"])
    return _known([Day((f"{date}",), heard) for date, heard in found.items()], truths)


def _known(days: Sequence[Day], truths: Truths, *, is_whole: bool = True) -> Known:
    known, remarks = labelled(days, truths)
    say(remarks)
    return Known(known, hours_off(days, truths), is_whole)


def say(texts: Iterable[str]) -> None:
    """Remarks on what was given."""
    for text in texts:
        print(f"footfall: {text}", file=sys.stderr)


def _read(args: argparse.Namespace) -> Truths:
    truths, remarks = read_truths(args.truth, flow=args.flow)
    say(remarks)
    return truths


def read_truths(paths: Sequence[Path], *, flow: bool) -> tuple[Truths, list[str]]:
    """Every truth file, and remarks; raises ConfigError with what is wrong in any of them."""
    truths: dict[Path, list[Level]] = {}
    remarks: list[str] = []
    problems: list[str] = []
    for path in paths:
        try:
            truths[path], of_file = read_flow(path) if flow else (read_levels(path), [])
            remarks += of_file
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return truths, remarks


def labelled(days: Sequence[Day], truths: Truths) -> tuple[list[Labelled], list[str]]:
    """Every day that a truth tells of, and a remark on each truth that was left out.

    Raises ConfigError for one that meets nothing heard, with the hours it seems to be off.
    """
    spans = [_span(day) for day in days]
    problems = [_missed(path, found, spans) for path, found in truths.items() if found and not _met_s(found, spans, 0)]
    if problems:
        raise ConfigError(problems)
    made: list[Labelled] = []
    remarks: list[str] = []
    for day, span in zip(days, spans, strict=True):
        chosen: list[Level] = []
        for path, found in truths.items():
            both = sorted((*chosen, *within(found, *span)), key=lambda level: (level.from_s, level.to_s))
            if any(after.from_s < before.to_s for before, after in pairwise(both)):
                remarks.append(f"{path}: tells of the same time as another truth file, left out")
            else:
                chosen = both
        if chosen:
            made.append(Labelled(_name(day), day.heard, chosen))
    return made, remarks


def hours_off(days: Sequence[Day], truths: Truths) -> list[str]:
    """What to say of each truth that would fit what was heard far better if its times were hours others."""
    heard = [day.heard for day in days]
    shifts = {path: better_shift_s(levels, heard) for path, levels in truths.items()}
    return [
        f"{path}:2: would fit what was heard far better {_hours(shift_s)}: its times must be UTC"
        for path, shift_s in shifts.items()
        if shift_s
    ]


def _name(day: Day) -> str:
    return ", ".join(day.files)


def _span(day: Day) -> tuple[int, int]:
    return day.heard.first_minute * 60, (day.heard.first_minute + len(day.heard)) * 60


def _met_s(levels: Sequence[Level], spans: Sequence[tuple[int, int]], shift_s: int) -> float:
    """Seconds of the truth in which something was heard, if its times were moved."""
    met = [level for begin, end in spans for level in within(levels, begin - shift_s, end - shift_s)]
    return sum(level.to_s - level.from_s for level in met)


def _missed(path: Path, levels: Sequence[Level], spans: Sequence[tuple[int, int]]) -> str:
    best_s = max(ZONES_S, key=lambda shift_s: _met_s(levels, spans, shift_s))
    if _met_s(levels, spans, best_s):
        return f"{path}:2: tells of no time that was heard, but would {_hours(best_s)}: its times must be UTC"
    return f"{path}:2: tells of no time that was heard (from {levels[0].from_s:.0f} s since 1970, UTC)"


def _hours(shift_s: int) -> str:
    return f"{abs(shift_s) / _HOUR_S:g} h {'earlier' if shift_s < 0 else 'later'}"
