"""Bursts: frames of one address close together, the unit that everything behind the radio counts in."""

from __future__ import annotations

import numpy as np
from footfall_events.schemas import AddressClass
from numpy.typing import NDArray

from footfall_collectors.dot11 import COUNTED, Frames

MAX_SILENCE_MS = 1_000
MAX_SPAN_MS = 10_000
MINUTE_MS = 60_000

FRAME = np.dtype([("mac", "<u8"), ("class", "i1"), ("ts", "<i8"), ("rssi", "i1"), ("freq", "<u2"), ("kind", "u1")])
BURST = np.dtype(
    [
        ("mac", "<u8"),
        ("class", "i1"),
        ("first", "<i8"),
        ("last", "<i8"),
        ("closes_at", "<i8"),  # the first instant at which no frame can join any more
        ("rssi", "i1"),  # strongest, dBm; NO_SIGNAL if none
        ("freq", "<u2"),
        ("frames", "<u2"),
        ("kinds", "u1"),
    ]
)
FrameArray = NDArray[np.void]
BurstArray = NDArray[np.void]


def closes_at_ms(first: NDArray[np.int64], last: NDArray[np.int64], random: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A burst closes a silence after its last frame, a span after its first, a random one with its minute."""
    closes = np.minimum(last + MAX_SILENCE_MS, first + MAX_SPAN_MS) + 1
    return np.where(random, np.minimum(closes, (first // MINUTE_MS + 1) * MINUTE_MS), closes)


def collapse(frames: FrameArray) -> tuple[BurstArray, NDArray[np.int64]]:
    """Bursts of frames in the order heard, and the burst that each frame (sorted as below) belongs to."""
    random = frames["class"] == AddressClass.RANDOM
    minute = np.where(random, frames["ts"] // MINUTE_MS, 0)
    starts = np.zeros(len(frames), bool)
    starts[:1] = True
    for column in (frames["mac"], frames["class"], minute):
        starts[1:] |= column[1:] != column[:-1]
    starts[1:] |= frames["ts"][1:] - frames["ts"][:-1] > MAX_SILENCE_MS
    starts[_beyond_their_span(frames["ts"], starts)] = True
    heads = np.flatnonzero(starts)
    burst = np.cumsum(starts) - 1
    bursts = np.zeros(len(heads), BURST)
    if not len(heads):
        return bursts, burst
    for name in ("mac", "class", "freq"):
        bursts[name] = frames[name][heads]
    bursts["first"] = frames["ts"][heads]
    bursts["last"] = np.maximum.reduceat(frames["ts"], heads)
    bursts["rssi"] = np.maximum.reduceat(frames["rssi"], heads)
    bursts["kinds"] = np.bitwise_or.reduceat(frames["kind"], heads)
    bursts["frames"] = np.diff(np.append(heads, len(frames))).clip(max=65_535)
    bursts["closes_at"] = closes_at_ms(bursts["first"], bursts["last"], bursts["class"] == AddressClass.RANDOM)
    return bursts, burst


def _beyond_their_span(ts_ms: NDArray[np.int64], starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The frames that open a burst because the one before has its span: the first beyond it, which may have another.

    `starts` marks the frames that open one anyhow. The work grows with the bursts of the longest chain, not with the
    frames times those bursts: a radio that is never silent is a chain of thousands.
    """
    if not len(ts_ms):
        return np.empty(0, np.int64)
    chain = np.append(np.cumsum(starts), 0)  # behind the last frame there is none
    # Times of one chain, then of the next: one rising column, in which every chain's next burst is found at once.
    rising = ts_ms - ts_ms.min()
    rising += chain[:-1] * (int(rising.max()) + MAX_SPAN_MS + 1)
    heads = np.flatnonzero(starts)
    found = [heads[:0]]
    while len(heads):
        opens = np.searchsorted(rising, rising[heads] + MAX_SPAN_MS, "right")
        heads = opens[chain[opens] == chain[heads]]
        found.append(heads)
    return np.concatenate(found)


class OpenBursts:
    """Frames of the bursts that may still grow; memory is bounded by what is heard within a span."""

    def __init__(self) -> None:
        self._frames: FrameArray = np.empty(0, FRAME)

    def add(self, frames: Frames, now_ms: int) -> tuple[BurstArray, BurstArray]:
        """Fold in a block; (bursts that are over, bursts still open) at `now_ms`, the latest time heard."""
        counted = frames.verdict == COUNTED
        fresh = np.zeros(int(counted.sum()), FRAME)
        fresh["mac"], fresh["class"] = frames.mac[counted], frames.address_class[counted]
        fresh["ts"], fresh["rssi"] = frames.ts_ms[counted], frames.rssi_dbm[counted]
        fresh["freq"], fresh["kind"] = frames.freq_mhz[counted], frames.kind[counted]
        together = np.concatenate([self._frames, fresh])
        order = np.lexsort((together["ts"], together["class"], together["mac"]))
        ordered = together[order]
        bursts, burst = collapse(ordered)
        over = bursts["closes_at"] <= now_ms
        # In the order heard, so that the next sort, which is stable, finds frames of one instant in order.
        self._frames = together[np.sort(order[~over[burst]])] if len(bursts) else together
        return bursts[over], bursts[~over]

    def finish(self) -> BurstArray:
        """Whatever was still open, closed by the end of the capture."""
        order = np.lexsort((self._frames["ts"], self._frames["class"], self._frames["mac"]))
        bursts, _ = collapse(self._frames[order])
        self._frames = self._frames[:0]
        return bursts
