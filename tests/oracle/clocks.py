"""Clocks of the batches that the replay of one capture sends: which minutes a sensor covers."""

from __future__ import annotations

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
    first_ms, last_ms = decisions[0]["time_ms"], decisions[-1]["time_ms"]
    step_ms = heartbeat_s * 1000
    clocks = [first_ms]
    beats = range(first_ms // step_ms * step_ms + step_ms // 2, last_ms + 1, step_ms)
    for beat_ms in (beat for beat in beats if beat > first_ms):
        clock = min([beat_ms, *_starts_of_open(decisions, bursts, beat_ms)])
        clocks.append(max(clock, clocks[-1]))
    return [*clocks, last_ms]


def _starts_of_open(decisions: list[Row], bursts: list[Row], now_ms: int) -> list[int]:
    """Starts of the stable bursts that began before `now_ms` and could still grow at it."""
    starts = []
    for burst in bursts:
        if burst["address_class"] == RANDOM or burst["first_ms"] >= now_ms or burst["last_ms"] < now_ms - 11_000:
            continue
        if now_ms - burst["first_ms"] > 10_000:
            continue
        heard = [
            frame["time_ms"]
            for frame in decisions
            if frame["outcome"] == "counted"
            and frame["mac"] == burst["mac"]
            and frame["address_class"] == burst["address_class"]
            and burst["first_ms"] <= frame["time_ms"] <= burst["last_ms"]
            and frame["time_ms"] < now_ms
        ]
        if heard and now_ms - max(heard) <= 1000:
            starts.append(burst["first_ms"])
    return starts
