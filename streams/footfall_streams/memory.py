"""Has a worker's memory follow what it holds: short-lived columns are used again, freed ones go back to the system.

Left alone, glibc keeps an arena a thread and raises its own thresholds with the largest column it has seen, and Arrow
keeps a pool beside it: of 700 MB after a backlog that left a million presences 430 held nothing (see tests/bench).
"""

from __future__ import annotations

import ctypes
import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa

# mallopt(3): thresholds set by hand are not adjusted any more. What a step of usual size needs stays below the first.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8
_OPTIONS = {_MMAP_THRESHOLD: 4 * 1024 * 1024, _TRIM_THRESHOLD: 64 * 1024 * 1024, _ARENA_MAX: 2}


class _WithoutPandas(MetaPathFinder):
    """Arrow asks pandas, wherever it is installed, whether an array is one of its own: 45 MB for nothing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def keep_no_spare_memory() -> None:
    """Before any thread starts."""
    pa.set_memory_pool(pa.system_memory_pool())
    sys.meta_path.insert(0, _WithoutPandas())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # the allocator is glibc's
        for option, value in _OPTIONS.items():
            mallopt(option, value)


def give_back() -> None:
    """Return every free page to the system, some 20 ms; of what a backlog leaves behind that is half."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
