"""What a sensor heard in each minute: counts by class and signal band, without any address."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
from footfall_events.business_days import BusinessDays
from footfall_events.schemas import BANDS, NEAR_BANDS_DBM, SENSOR_MINUTES, AddressClass
from numpy.typing import NDArray

from footfall_collectors.bursts import BURST, MAX_SPAN_MS, MINUTE_MS, BurstArray
from footfall_collectors.dot11 import COUNTED, FIRST_IGNORED, Frames

_COUNTS = ("kernel_drops", "frames", "rejected", "ignored")
_EDGES = dict(zip(BANDS, (*NEAR_BANDS_DBM, -128), strict=True))


class RadioMinutes:
    """Counts of the minutes that are not over yet. Addresses stay here until their minute is sent, then go.

    A minute is over once no burst that began in it can still grow.
    """

    def __init__(self, store_id: str, sensor_id: str, boot_id: str, days: BusinessDays) -> None:
        self._names = {"store_id": store_id, "sensor_id": sensor_id, "boot_id": boot_id}
        self._days = days
        self._counts: defaultdict[int, Counter[str]] = defaultdict(Counter)  # by minute number
        self._bursts: BurstArray = np.empty(0, BURST)
        self._begin_ms: int | None = None
        self._end_ms = 0
        self._next = 0  # the first minute not sent yet

    def hear(self, frames: Frames) -> None:
        """Count frames in their own minute."""
        if not len(frames.ts_ms):
            return
        self.listen(int(frames.ts_ms[0]), int(frames.ts_ms[-1]))
        minute = frames.ts_ms // MINUTE_MS
        base = int(minute[0])
        rejected = (frames.verdict != COUNTED) & (frames.verdict < FIRST_IGNORED)
        ignored = frames.verdict >= FIRST_IGNORED
        for name, mask in (("frames", np.ones(len(minute), bool)), ("rejected", rejected), ("ignored", ignored)):
            totals = np.bincount(minute[mask] - base)
            for offset in np.flatnonzero(totals).tolist():
                self._counts[base + offset][name] += int(totals[offset])

    def keep(self, bursts: BurstArray) -> None:
        """Bursts that are over; they count in the minute of their first frame."""
        self._bursts = np.concatenate([self._bursts, bursts])

    def miss(self, kernel_drops: int, now_ms: int) -> None:
        """Frames that the kernel dropped by `now_ms`."""
        if kernel_drops:
            self._counts[now_ms // MINUTE_MS]["kernel_drops"] += kernel_drops

    def listen(self, begin_ms: int, end_ms: int) -> None:
        """The sensor listened from begin to end, and in between, whether or not it heard anything."""
        if self._begin_ms is None:
            self._begin_ms, self._next = begin_ms, begin_ms // MINUTE_MS
        self._end_ms = max(self._end_ms, end_ms)

    def over(self, now_ms: int) -> pa.RecordBatch | None:
        """Rows of the minutes that are over at `now_ms`, if any."""
        last = (now_ms - MAX_SPAN_MS) // MINUTE_MS - 1
        return self._send(min(last, self._end_ms // MINUTE_MS - 1))

    def finish(self) -> pa.RecordBatch | None:
        """Rows of everything left, at the end of listening."""
        return self._send(self._end_ms // MINUTE_MS)

    def _send(self, last: int) -> pa.RecordBatch | None:
        if self._begin_ms is None or last < self._next:
            return None
        minutes = np.arange(self._next, last + 1)
        starts = minutes * MINUTE_MS
        done = self._bursts["first"] // MINUTE_MS <= last
        bursts, self._bursts = self._bursts[done], self._bursts[~done]
        listened = np.minimum(self._end_ms, starts + MINUTE_MS) - np.maximum(self._begin_ms, starts)
        counts = [self._counts.pop(minute, Counter[str]()) for minute in minutes.tolist()]
        columns = {
            **{name: pa.array([text] * len(minutes), pa.string()) for name, text in self._names.items()},
            "minute": pa.array(starts, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
            "business_date": pa.array(self._days.numbers_at(starts), pa.int32()).cast(pa.date32()),
            "listening_s": pa.array(listened / 1000, pa.float64()),
            **{name: pa.array([count[name] for count in counts], pa.uint32()) for name in _COUNTS},
            **self._bands(bursts, len(minutes)),
        }
        self._next = last + 1
        return pa.RecordBatch.from_arrays([columns[name] for name in SENSOR_MINUTES.names], schema=SENSOR_MINUTES)

    def _bands(self, bursts: BurstArray, count: int) -> dict[str, pa.Array]:
        minute = bursts["first"] // MINUTE_MS - self._next
        columns = {}
        is_random = bursts["class"] == AddressClass.RANDOM
        for name, of_class in (("random", is_random), ("stable", ~is_random)):
            for band, edge in _EDGES.items():
                near = of_class & (bursts["rssi"] >= edge)
                columns[f"{name}_bursts_{band}"] = _totals(minute[near], count)
                columns[f"{name}_addresses_{band}"] = _totals(_distinct(minute[near], bursts["mac"][near]), count)
        return columns


def _totals(minute: NDArray[np.int64], count: int) -> pa.Array:
    return pa.array(np.bincount(minute, minlength=count).astype(np.uint32))


def _distinct(minute: NDArray[np.int64], mac: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Minute of each distinct (minute, address)."""
    order = np.lexsort((mac, minute))
    minute, mac = minute[order], mac[order]
    first = np.ones(len(order), bool)
    first[1:] = (minute[1:] != minute[:-1]) | (mac[1:] != mac[:-1])
    distinct: NDArray[np.int64] = minute[first]
    return distinct
