"""Processes that the campaign kills, freezes, ends and starts again, as a supervisor would."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from footfall_cli.children import Child


class Member:
    """One process of the fleet. It is started again whenever it has ended, unless it is `held` down."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
        self.name, self._command, self._log, self._environ = name, list(command), log, dict(environ)
        self.held = False
        self._armed: dict[str, str] = {}
        self.child = Child(name, self._command, log, self._environ)

    def start(self) -> None:
        self.held = False
        self.child = Child(self.name, self._command, self._log, {**self._environ, **self._armed})
        self._armed = {}  # the next start is an ordinary one
        self.child.start()

    def arm(self, fail_point: str) -> None:
        """Have its next start stop or die at a named place of the protocol."""
        self._armed = {"FOOTFALL_FAIL_POINT": fail_point}

    @property
    def runs(self) -> bool:
        return self.child.process is not None and self.child.exit_code() is None

    def supervise(self) -> None:
        """Start it again if it has ended; a refusal to work (exit code 2) is no fault, but a defect."""
        if self.held or self.runs:
            return
        if self.child.exit_code() == 2:
            raise AssertionError(f"{self.name} refuses to work:\n{self.child.tail()}")
        self.start()

    def send(self, number: signal.Signals) -> None:
        if self.child.process is not None and self.runs:
            os.kill(self.child.process.pid, number)

    def is_stopped(self) -> bool:
        """Whether it is frozen, by us or at a fail point."""
        if self.child.process is None or not self.runs:
            return False
        return Path(f"/proc/{self.child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

    def end(self, wait_s: float = 30.0) -> None:
        """End it for good."""
        self.held = True
        self.send(signal.SIGCONT)
        self.child.stop(wait_s)
