"""A capture that arrives on a pipe, read so that a signal can end it: `tcpdump -U -w - | footfall collect --stdin`."""

from __future__ import annotations

import io
import os
import select
from threading import Event

_POLL_S = 0.25
_BUFFER_BYTES = 1024 * 1024


class _EndsOnStop(io.RawIOBase):
    """A file descriptor whose end has come once `stop` is set."""

    def __init__(self, descriptor: int, stop: Event) -> None:
        self._descriptor, self._stop = descriptor, stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the stub's Buffer is wider
        while not self._stop.is_set():
            if select.select([self._descriptor], [], [], _POLL_S)[0]:
                return os.readv(self._descriptor, [buffer])
        return 0


def pipe(descriptor: int, stop: Event) -> io.BufferedReader:
    """The pipe as a file that gives what has arrived; it ends when the writer ends or `stop` is set."""
    return io.BufferedReader(_EndsOnStop(descriptor, stop), _BUFFER_BYTES)
