"""Two tables, the oracle's and a query's, as differences that a person can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from tests.oracle.store_settings import Row, as_text

SHOWN = 12


def instant_ms(value: Any) -> int | None:
    """Epoch ms of a time as a query gives it: number of ms, ISO or ClickHouse text (UTC), or None."""
    if value is None or isinstance(value, int):
        return value
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000


def day_of(value: Any) -> date:
    """A date as a query gives it."""
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value[:10])


def from_query(rows: Iterable[Row], times: Sequence[str]) -> list[Row]:
    """Rows with the `*_at` and `minute` columns named in `times` as `*_ms`, dates as dates."""
    found = []
    for row in rows:
        plain = dict(row)
        for name in times:
            plain[f"{name.removesuffix('_at')}_ms"] = instant_ms(plain.pop(name))
        if "business_date" in plain:
            plain["business_date"] = day_of(plain["business_date"])
        if "engaged" in plain:
            plain["engaged"] = plain["engaged"] in (True, 1, "true", "1")
        found.append(plain)
    return found


def differences(wanted: Iterable[Row], got: Iterable[Row], columns: Sequence[str]) -> list[str]:
    """Rows on one side only, as multisets over `columns`; empty if the tables are equal."""
    left = Counter(_shown(row, columns) for row in wanted)
    right = Counter(_shown(row, columns) for row in got)
    missing, surplus = sorted((left - right).elements()), sorted((right - left).elements())
    return [*_listed("missing", missing), *_listed("surplus", surplus)]


def keyed_differences(
    wanted: Iterable[Row], got: Iterable[Row], key: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """Differences cell by cell between rows with the same key; empty if the tables are equal."""
    found: list[str] = []
    left, right = _by_key(wanted, key, found, "oracle"), _by_key(got, key, found, "query")
    for name in sorted(left.keys() | right.keys()):
        if name not in right:
            found.append(f"missing: {name}")
        elif name not in left:
            found.append(f"surplus: {name}")
        else:
            found += [
                f"{name} {column}: {right[name][column]!r} instead of {left[name][column]!r}"
                for column in columns
                if left[name][column] != right[name][column]
            ]
    return found


def report(title: str, found: Sequence[str]) -> str:
    """The first differences, one a line, under a title with their number."""
    lines = [f"{title}: {len(found)} differences", *found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"... and {len(found) - SHOWN} more")
    return "\n  ".join(lines)


def _by_key(rows: Iterable[Row], key: Sequence[str], found: list[str], side: str) -> dict[str, Row]:
    by_key: dict[str, Row] = {}
    for row in rows:
        name = _shown(row, key)
        if name in by_key:
            found.append(f"twice in the {side}: {name}")
        by_key[name] = row
    return by_key


def _shown(row: Row, columns: Sequence[str]) -> str:
    return " ".join(f"{name.removesuffix('_ms')}={_cell(name, row[name])}" for name in columns)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "null"
    return as_text(value) if name.endswith("_ms") else str(value)


def _listed(what: str, rows: Sequence[str]) -> list[str]:
    return [f"{what}: {row}" for row in rows]
