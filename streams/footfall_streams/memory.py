"""Has a worker's memory follow what it holds: freed columns go back to the system, short-lived ones are used again.

Left alone, glibc keeps an arena a thread and raises its own thresholds with the largest column it has seen, and Arrow
keeps a pool beside it: of 700 MB after a backlog that left a million presences 130 held nothing (see tests/bench).
"""

from __future__ import annotations

import ctypes

import pyarrow as pa

# mallopt(3): thresholds set by hand are not adjusted any more. What a step of usual size needs stays below the first.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8
_OPTIONS = {_MMAP_THRESHOLD: 4 * 1024 * 1024, _TRIM_THRESHOLD: 64 * 1024 * 1024, _ARENA_MAX: 2}


def keep_no_spare_memory() -> None:
    """Before any thread starts; does nothing to an allocator that is not glibc's."""
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _OPTIONS.items():
            mallopt(option, value)
