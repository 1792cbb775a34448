"""One TOML table under validation: typed look-ups note every problem with its place, and go on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any


class TomlTable:
    """Typed look-ups of one table. A look-up that fails notes the problem and returns the default.

    `place` is the table's own, like `stores[1].changes[0]`; `problems` is shared by all tables of a file.
    """

    def __init__(self, values: Any, place: str, problems: list[str]) -> None:
        self.place = place
        self.problems = problems
        self._values: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
        self._seen: set[str] = set()
        if not isinstance(values, Mapping):
            self.problem("", "must be a table")

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self._place_of(key)}: {text}")

    def has(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, kind: type | tuple[type, ...], default: Any, wanted: str) -> Any:
        """The value, or `default` if there is none of that kind; neither a bool nor a date-time passes for another."""
        self._seen.add(key)
        if key not in self._values:
            return default
        value = self._values[key]
        # In Python a bool is an int, and a date-time is a date.
        if not isinstance(value, kind) or isinstance(value, bool | datetime):
            self.problem(key, f"is {value!r}, must be {wanted}")
            return default
        return value

    def text(self, key: str, default: str) -> str:
        value: str = self.get(key, str, default, "a text")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value: float = self.get(key, (int, float), default, "a number")
        if not low <= value <= high:
            self.problem(key, f"is {value}, must be from {low} to {high}")
            return default
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        value: int = self.get(key, int, default, "a whole number")
        if not low <= value <= high:
            self.problem(key, f"is {value}, must be from {low} to {high}")
            return default
        return value

    def day(self, key: str) -> date | None:
        value: date | None = self.get(key, date, None, "a date like 2026-01-31")
        return value

    def table(self, key: str) -> TomlTable:
        return TomlTable(self.get(key, Mapping, {}, "a table"), self._place_of(key), self.problems)

    def tables(self, key: str) -> list[TomlTable]:
        """The array's tables, each with its number in its place."""
        values: list[Any] = self.get(key, list, [], "an array of tables")
        place = self._place_of(key)
        return [TomlTable(entry, f"{place}[{index}]", self.problems) for index, entry in enumerate(values)]

    def texts(self, key: str, pattern: re.Pattern[str], wanted: str, *, lower: bool = False) -> list[str]:
        """The array's texts that match; `lower` reads them in lower case and with ':' for '-'."""
        values: list[str] = []
        for index, item in enumerate(self.get(key, list, [], "an array")):
            text = item.lower().replace("-", ":") if lower and isinstance(item, str) else item
            if not isinstance(text, str) or not pattern.fullmatch(text):
                self.problem(f"{key}[{index}]", f"is {item!r}, must be {wanted}")
            else:
                values.append(text)
        return values

    def items(self) -> list[tuple[str, Any]]:
        """Every entry as it is, for a table that takes any key."""
        return list(self._values.items())

    def finish(self) -> None:
        """Note every key that no look-up asked for."""
        for key in sorted(set(self._values) - self._seen):
            self.problem(key, "is not a setting known here")

    def _place_of(self, key: str) -> str:
        return ".".join(part for part in (self.place, key) if part)
