"""Matches what was heard, in captures or in ClickHouse, with the people who were really there, by time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from footfall_estimates.fit import Labelled
from footfall_estimates.truth import Level, read_flow, read_levels
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import Client, heard_between
from rich.console import Console

from footfall_cli.captures_heard import Day, read_days

_HOUR_S = 3600
_ZONES = [quarter * 900 for quarter in range(-14 * 4, 14 * 4 + 1) if quarter]


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


def known_from_files(args: argparse.Namespace, store_id: str) -> tuple[list[Labelled], bool]:
    """The days whose people are known, and whether every capture could be read to its end; what is wrong is said."""
    days, warnings = read_days(args.files, store_id, args.ignore_oui, Console(stderr=True))
    _say(warnings)
    if not days:
        raise ConfigError(["no capture holds a frame"])
    return _known(args, days), not warnings


def known_from_minutes(args: argparse.Namespace, client: Client) -> list[Labelled]:
    """The same from a store's minutes in ClickHouse, each business date a day."""
    if args.ignore_oui:
        raise ConfigError(["--ignore-oui goes with captures: minutes leave out what the store's ignored_ouis say"])
    levels = [level for path in args.truth for level in (read_flow if args.flow else read_levels)(path)]
    if not levels:
        raise ConfigError(["the truth knows of no time"])
    begin, end = min(level.from_s for level in levels), max(level.to_s for level in levels)
    found = heard_between(client, args.store, begin, end)
    if not found:
        raise ConfigError([f"store {args.store!r} has no minutes in the time that the truth tells of"])
    return _known(args, [Day((f"{date}",), heard) for date, heard in found.items()])


def _known(args: argparse.Namespace, days: Sequence[Day]) -> list[Labelled]:
    known, remarks = labelled(days, args.truth, flow=args.flow)
    _say(remarks)
    return known


def _say(texts: Sequence[str]) -> None:
    for text in texts:
        print(f"footfall: {text}", file=sys.stderr)


def labelled(days: Sequence[Day], truths: Sequence[Path], *, flow: bool) -> tuple[list[Labelled], list[str]]:
    """Every day that a truth file covers, and a remark on each file that was left out.

    Raises ConfigError for a truth file that is wrong, or that meets nothing heard, with the hours it seems to be off.
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
    problems += [_off(path, found, spans) for path, found in levels.items() if found and not _met_s(found, spans, 0)]
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


def _met_s(levels: Sequence[Level], spans: Sequence[tuple[int, int]], shift_s: int) -> float:
    """Seconds of the truth in which something was heard, if its times were moved."""
    moved = [(level.from_s + shift_s, level.to_s + shift_s) for level in levels]
    return sum(max(0.0, min(to_s, end) - max(from_s, begin)) for from_s, to_s in moved for begin, end in spans)


def _off(path: Path, levels: Sequence[Level], spans: Sequence[tuple[int, int]]) -> str:
    best_s = max(sorted(_ZONES, key=abs), key=lambda shift_s: _met_s(levels, spans, shift_s))
    if _met_s(levels, spans, best_s):
        when = f"{abs(best_s) / _HOUR_S:g} h {'earlier' if best_s < 0 else 'later'}"
        return f"{path}:2: tells of no time that was heard, but would {when}: its times must be UTC"
    return f"{path}:2: tells of no time that was heard (from {levels[0].from_s:.0f} s since 1970, UTC)"
