"""What the sensors of one store heard nearby, minute by minute, straight from capture files, without a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footfall_collectors.collect import StoreRun
from footfall_collectors.pseudonyms import throwaway_key
from footfall_collectors.session import Batching
from footfall_estimates.minutes import Heard, heard, minute_of
from footfall_events.errors import ConfigError
from footfall_events.stores import parse_chain
from rich.console import Console

from footfall_cli.progress import bar

_DAY_GAP_MIN = 120
"""A longer silence between captures begins another day, with rates of its own."""


@dataclass(frozen=True)
class Day:
    """Captures of one store without a long gap, as one."""

    files: tuple[str, ...]
    heard: Heard


@dataclass(frozen=True)
class _Capture:
    """`first` and `last` are minutes since 1970."""

    path: Path
    sensor_id: str
    rows: list[dict[str, Any]]
    first: int
    last: int


def read_days(
    files: Sequence[str], store_id: str, ignored_ouis: Sequence[str], console: Console
) -> tuple[list[Day], list[str]]:
    """The captures by day, and a warning for each that was readable in part only.

    A file is `FILE` or `SENSOR=FILE`. Without a name, captures that run at the same time are sensors `1`, `2` … in the
    order of their names, without the names given to others at that time; those that follow each other are the same
    sensor. Raises ConfigError for missing files.
    """
    named = [_named(file) for file in files]
    problems = [f"{path}: no such file" for _, path in named if not path.is_file()]
    if problems:
        raise ConfigError(problems)
    captures: list[_Capture] = []
    warnings: list[str] = []
    with bar(console, "reading captures") as show:
        for done, (sensor_id, path) in enumerate(named):
            show(done, len(named))
            rows, of_file = minute_rows(path, store_id, ignored_ouis)
            warnings += of_file
            if rows:
                minutes = [minute_of(row["minute"]) for row in rows]
                captures.append(_Capture(path, sensor_id, rows, min(minutes), max(minutes)))
    return [_day(found) for found in _by_day(captures)], warnings


def _named(file: str) -> tuple[str, Path]:
    sensor_id, equals, path = file.partition("=")
    return (sensor_id, Path(path)) if equals and not Path(file).exists() else ("", Path(file))


def minute_rows(path: Path, store_id: str, ignored_ouis: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of `sensor_minutes` of one capture, its sensor named by its stem, and what could not be read."""
    store = {"id": store_id, "sensors": [path.stem], "ignored_ouis": list(ignored_ouis)}
    chain = parse_chain({"stores": [store]})
    run = StoreRun(chain.stores[store_id], chain.privacy, throwaway_key(0), Batching())
    minutes = (output.rows for output in run.files({path.stem: path}) if output.header is None)
    return [row for rows in minutes for row in rows.to_pylist()], run.warnings


def _by_day(captures: Iterable[_Capture]) -> Iterator[list[_Capture]]:
    day: list[_Capture] = []
    for capture in sorted(captures, key=lambda found: found.first):
        if day and capture.first - max(found.last for found in day) > _DAY_GAP_MIN:
            yield day
            day = []
        day.append(capture)
    if day:
        yield day


def _day(captures: Sequence[_Capture]) -> Day:
    ends: dict[str, list[tuple[int, int]]] = {}
    rows: list[Mapping[str, Any]] = []
    # Names that were given are taken before any is handed out.
    for capture in sorted(captures, key=lambda found: (not found.sensor_id, found.path.name)):
        sensor_id = capture.sensor_id or _free(ends, capture)
        ends.setdefault(sensor_id, []).append((capture.first, capture.last))
        rows += [{**row, "sensor_id": sensor_id} for row in capture.rows]
    return Day(tuple(sorted(capture.path.name for capture in captures)), heard(rows))


def _free(taken: Mapping[str, Sequence[tuple[int, int]]], capture: _Capture) -> str:
    """The first number whose captures do not run at the same time."""
    number = 1
    while any(_at_once(span, (capture.first, capture.last)) for span in taken.get(str(number), ())):
        number += 1
    return str(number)


def _at_once(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether captures share more than the minute in which one ends and the other goes on, or all of a minute."""
    return one == other or (one[0] < other[1] and other[0] < one[1])
