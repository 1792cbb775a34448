"""Room on the disk that is kept free for the spool, so that a full disk finds it able to give room up in order."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

RESERVE_BYTES = 4_000_000
"""More than SQLite's log of changes holds before its pages have to find their place in the file."""


class Reserve:
    """A file of nothing. While it is held the disk may fill up; given up, its room is there once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def held(self) -> bool:
        return self._path.exists()

    def hold(self) -> bool:
        """Take the room, unless the disk is too full to take it without filling it up."""
        if self.held:
            return True
        if shutil.disk_usage(self._path.parent).free < 2 * RESERVE_BYTES:
            return False
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(handle, 0, RESERVE_BYTES)
        except OSError:
            self.give_up()
        finally:
            os.close(handle)
        return self.held

    def give_up(self) -> None:
        self._path.unlink(missing_ok=True)
