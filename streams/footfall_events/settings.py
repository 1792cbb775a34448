"""Reads a process's settings from a mapping and reports every problem at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from footfall_events.errors import ConfigError

log = logging.getLogger(__name__)

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Secret(str):
    """A password that tells nothing when the object or the mapping that holds it is printed."""

    def __repr__(self) -> str:
        return "'***'"


NO_SECRET = Secret()


class SettingsReader:
    """Typed look-ups that collect problems; `finish()` raises them together as one ConfigError.

    A look-up that fails returns its default, so that reading goes on to the next problem.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []

    def given(self, name: str) -> bool:
        return bool(self._values.get(name))

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

    def choice(self, name: str, default: str, among: Collection[str]) -> str:
        value = (self._values.get(name) or default).lower()
        if value not in among:
            self.problems.append(f"{name} is {value!r}: must be one of {', '.join(among)}")
            return default
        return value

    def file(self, name: str) -> Path | None:
        """A file that can be read; None if none is named, or if it is of no use."""
        raw = self._values.get(name)
        if not raw:
            return None
        path = Path(raw)
        if not path.is_file():
            self.problems.append(f"{name} is {raw}: there is no such file")
        elif not os.access(path, os.R_OK):
            self.problems.append(f"{name} is {raw}: it must not be read by this user")
        else:
            return path
        return None

    def secret(self, name: str, file_name: str) -> Secret:
        """A password from one variable, or from the file that the other one names; empty if there is none."""
        given = self._values.get(name) or ""
        path = self.file(file_name)
        if given and self._values.get(file_name):
            self.problems.append(f"{name} and {file_name} are both set: give one of them")
        if path is None:
            return Secret(given)
        warn_if_open(path)
        try:
            found = path.read_text(encoding="utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            self.problems.append(f"{file_name} is {path}: it is not text")
            return Secret()
        if not found:
            self.problems.append(f"{file_name} is {path}: it is empty")
        return Secret(found)

    def finish(self) -> None:
        """Raise ConfigError with everything found, if anything was."""
        if self.problems:
            raise ConfigError(self.problems)


def warn_if_open(path: Path) -> None:
    """Say that everybody may read a secret. No error: container runtimes mount secrets that way."""
    if path.stat().st_mode & 0o004:
        log.warning("%s holds a secret and every user may read it: chmod 600", path)
