"""Child processes that never outlive us, and ports that are free."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PORTS = (10_000, 32_768)
# Two processes that seeded the common generator alike would find the same port free, and both take it.
_RANDOM = random.SystemRandom()


def free_port() -> int:
    """A loopback port that nothing listens on at the moment.

    It lies below the ports that the system gives to outgoing connections: those could take it while a server that is
    to come back is away, and a client that calls such a port in vain may even be connected to itself.
    """
    while True:
        port = _RANDOM.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One child process with its output in a log file; it is killed if this process dies."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._environ = dict(environ)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environ,
                # A Ctrl-C goes to the whole foreground group; children are ended by us, in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if os.name == "posix" else None,
            )

    def exit_code(self) -> int | None:
        """Exit code, or None while it runs (or before it was started)."""
        return None if self.process is None else self.process.poll()

    def stop(self, wait_s: float = 15.0) -> None:
        """SIGTERM, then SIGKILL for one that does not listen."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def wait_for_line(child: Child, start: str, wait_s: float) -> str:
    """The first line of the child's log that begins with `start`; raises TimeoutError with the log's tail."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if child.log.exists():
            for line in child.log.read_text(errors="replace").splitlines():
                if line.startswith(start):
                    return line
        if child.exit_code() is not None:
            break
        time.sleep(0.05)
    raise TimeoutError(f"{child.name} did not start:\n{child.tail()}")
