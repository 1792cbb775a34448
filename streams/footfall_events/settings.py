"""Reads a process's settings from a mapping and reports every problem at once."""

from __future__ import annotations

from collections.abc import Mapping

from footfall_events.errors import ConfigError

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class SettingsReader:
    """Typed look-ups that collect problems; `finish()` raises them together as one ConfigError.

    A look-up that fails returns its default, so that reading goes on to the next problem.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name) or default
        if value is None:
            self.problems.append(f"{name} is not set")
            return ""
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        raw = self._values.get(name)
        if not raw:
            return default
        try:
            value = float(raw)
        except ValueError:
            self.problems.append(f"{name} is {raw!r}: give a number")
            return default
        if not low <= value <= high:
            self.problems.append(f"{name} is {raw}: must be from {low:g} to {high:g}")
            return default
        return value

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self.number(name, default, low=low, high=high)
        if value != int(value):
            self.problems.append(f"{name} is {value:g}: give a whole number")
            return default
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        raw = (self._values.get(name) or "").lower()
        if raw and raw not in _TRUE + _FALSE:
            self.problems.append(f"{name} is {raw!r}: give true or false")
            return default
        return raw in _TRUE if raw else default

    def finish(self) -> None:
        """Raise ConfigError with everything found, if anything was."""
        if self.problems:
            raise ConfigError(self.problems)
