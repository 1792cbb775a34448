"""Named places in the protocol of checkpoint.py where a test stops, kills or breaks the process.

`FOOTFALL_FAIL_POINT=produced:kill:3` kills the worker the third time it is between its outputs and its state.
Unset, as in production, a fail point is one comparison.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

POINTS = {
    "owned": "the partition is fenced, its state is not read yet",
    "restored": "its state is read, the group's offset is not set to it yet",
    "guarded": "a chunk has passed the guard, nothing of it is folded",
    "folded": "the chunk is folded in memory, no transaction has begun",
    "produced": "the outputs are in the open transaction, state and offset are not",
    "written": "outputs, state and offset are in the open transaction",
    "committed": "the transaction is committed, nothing is acknowledged",
    "acknowledged": "the group's offset is on its way",
}


def _raise() -> None:
    raise RuntimeError("a fail point broke the process")


ACTIONS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": _raise,
}


class FailPoints:
    """At most one armed place. Calling it with a place's name passes by there."""

    def __init__(self, armed: str = "") -> None:
        """`armed` is `PLACE:ACTION[:N]`, the N-th passing counts; raises ValueError for anything else."""
        self._left = 0
        self._place = ""
        if not armed:
            return
        found = re.fullmatch(r"(\w+):(\w+)(?::(\d+))?", armed)
        if not found or found[1] not in POINTS or found[2] not in ACTIONS:
            places, actions = ", ".join(POINTS), ", ".join(ACTIONS)
            raise ValueError(f"{armed!r}: give PLACE:ACTION[:N], PLACE of {places}, ACTION of {actions}")
        self._place, self._act, self._left = found[1], ACTIONS[found[2]], int(found[3] or 1)

    def __call__(self, place: str) -> None:
        """Pass by a place."""
        if place != self._place:
            return
        self._left -= 1
        if self._left == 0:
            self._act()


NONE_ARMED = FailPoints()
