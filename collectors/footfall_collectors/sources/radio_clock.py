"""The radio's time: the system's clock, but never going back, and never across a step of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from footfall_events.errors import ConfigError

from footfall_collectors.sources.unreadable import UnreadableCapture

RELEASED = datetime(2026, 11, 24, tzinfo=UTC)
"""No sensor can have heard anything before this release was made: an earlier clock is not set yet."""

STEP_MS = 60_000
"""How far the clock may move away from steady time; more would be listening time that never was."""


@dataclass(frozen=True)
class Reading:
    """The system's clock, epoch ms, and one that nobody sets, ms, read together."""

    wall_ms: int
    steady_ms: int

    def stepped_ms(self, since: Reading) -> int:
        """How far the clock has been set since then, forward or, negative, back."""
        return (self.wall_ms - since.wall_ms) - (self.steady_ms - since.steady_ms)


def read_clock() -> Reading:
    """Both clocks, now."""
    return Reading(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


class RadioClock:
    """`latest_ms`, epoch ms, never goes back: not within a run, and not behind the run before."""

    def __init__(self, not_before_ms: int = 0, read: Callable[[], Reading] = read_clock) -> None:
        """`not_before_ms` is the last clock that was sent; raises ConfigError for a system's clock that is not set."""
        self._read, self._began = read, read()
        now_ms = self._began.wall_ms
        if now_ms < RELEASED.timestamp() * 1000:
            raise ConfigError([f"the clock says {_iso(now_ms)}, before this release was made: set it first"])
        if now_ms < not_before_ms - STEP_MS:
            raise ConfigError(
                [
                    f"the clock says {_iso(now_ms)}, and the last batch bears {_iso(not_before_ms)}: set the clock; "
                    "if it is right and that one was not, begin once with --trust-clock"
                ]
            )
        self.latest_ms = not_before_ms

    def stamp(self, stamp_ms: int) -> int:
        """The time of a frame that the kernel stamped so; also one stamped while a quiet poll ended."""
        self.latest_ms = max(self.latest_ms, stamp_ms)
        return self.latest_ms

    def now_ms(self) -> int:
        """The system's clock; raises UnreadableCapture once it has been set by more than STEP_MS since the start."""
        now = self._read()
        stepped_ms = now.stepped_ms(self._began)
        if abs(stepped_ms) > STEP_MS:
            way = "forward" if stepped_ms > 0 else "back"
            raise UnreadableCapture(
                f"the clock was set {way} by {abs(stepped_ms) / 1000:.0f} s while listening: "
                "what was heard before is sent; start again with the clock as it is now"
            )
        return now.wall_ms


def _iso(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
