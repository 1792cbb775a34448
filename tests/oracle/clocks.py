"""Clocks of the batches that the replay of one capture sends: which minutes a sensor covers."""

from __future__ import annotations

from bisect import bisect_left

from tests.oracle.frames import RANDOM
from tests.oracle.store_settings import Row


def heartbeat_clocks(decisions: list[Row], bursts: list[Row], heartbeat_s: int) -> list[int]:
    """Clocks of a replay's batches: at its start, in the middle of every heartbeat period, and at its end.

    A batch promises that no later sighting starts before its clock: that of the oldest stable burst which a
    frame after it could still extend, or the heartbeat's own instant. A batch's clock is never behind an
    earlier one's. Holds for fewer than `max_rows` sightings between two heartbeats.
    """
    if not decisions:
        return []
    counted = [frame for frame in decisions if frame["outcome"] == "counted"]
    stable = [burst for burst in bursts if burst["address_class"] != RANDOM]
    first_ms, last_ms = decisions[0]["time_ms"], decisions[-1]["time_ms"]
    step_ms = heartbeat_s * 1000
    clocks = [first_ms]
    beats = range(first_ms // step_ms * step_ms + step_ms // 2, last_ms + 1, step_ms)
    for beat_ms in (beat for beat in beats if beat > first_ms):
        clock = min([beat_ms, *_starts_of_open(counted, stable, beat_ms)])
        clocks.append(max(clock, clocks[-1]))
    return [*clocks, last_ms]


def _starts_of_open(counted: list[Row], stable: list[Row], now_ms: int) -> list[int]:
    """Starts of the stable bursts that began before `now_ms` and could still grow at it."""
    lately = _between(counted, "time_ms", now_ms - 10_000, now_ms)
    starts = []
    for burst in _between(stable, "first_ms", now_ms - 10_000, now_ms):
        heard = [
            frame["time_ms"]
            for frame in lately
            if frame["mac"] == burst["mac"]
            and frame["address_class"] == burst["address_class"]
            and burst["first_ms"] <= frame["time_ms"] <= burst["last_ms"]
        ]
        if now_ms - max(heard) <= 1000:
            starts.append(burst["first_ms"])
    return starts


def _between(rows: list[Row], name: str, begin_ms: int, end_ms: int) -> list[Row]:
    """The rows from `begin_ms` to before `end_ms`; they are in the order of time."""

    def at(row: Row) -> int:
        instant: int = row[name]
        return instant

    return rows[bisect_left(rows, begin_ms, key=at) : bisect_left(rows, end_ms, key=at)]
