"""What a sensor heard in each minute: counts by class and signal band, without any address."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from footfall_events.business_days import BusinessDays
from footfall_events.schemas import BANDS, NEAR_BANDS_DBM, SENSOR_MINUTES, AddressClass
from numpy.typing import NDArray

from footfall_collectors.bursts import BURST, MAX_SPAN_MS, MINUTE_MS, BurstArray
from footfall_collectors.dot11 import COUNTED, FIRST_IGNORED, Frames

_COUNTS = ("kernel_drops", "frames", "rejected", "ignored")
_KERNEL_DROPS, _FRAMES, _REJECTED, _IGNORED = range(len(_COUNTS))
_EDGES_DBM = np.array([*NEAR_BANDS_DBM, -128])  # of each band, the nearest first


class RadioMinutes:
    """Counts of the minutes that are not over yet. Addresses stay here until their minute is sent, then go.

    A minute is over once no burst that began in it can still grow. Rows are made for all minutes that a block ends,
    at once: a row costs as much as thousands of bursts in it.
    """

    def __init__(self, store_id: str, sensor_id: str, boot_id: str, days: BusinessDays) -> None:
        self._names = {"store_id": store_id, "sensor_id": sensor_id, "boot_id": boot_id}
        self._days = days
        self._counts = np.zeros((len(_COUNTS), 0), np.int64)  # of the minutes from `_next` on
        self._bursts: BurstArray = np.empty(0, BURST)
        self._begin_ms: int | None = None
        self._end_ms = 0
        self._next = 0  # the first minute not sent yet

    def hear(self, frames: Frames) -> None:
        """Count frames in their own minute."""
        if not len(frames.ts_ms):
            return
        self.listen(int(frames.ts_ms[0]), int(frames.ts_ms[-1]))
        minute = frames.ts_ms // MINUTE_MS - self._next
        self._make_room(int(minute[-1]) + 1)
        rejected = (frames.verdict != COUNTED) & (frames.verdict < FIRST_IGNORED)
        ignored = frames.verdict >= FIRST_IGNORED
        for row, minutes in ((_FRAMES, minute), (_REJECTED, minute[rejected]), (_IGNORED, minute[ignored])):
            self._counts[row] += np.bincount(minutes, minlength=self._counts.shape[1])

    def keep(self, bursts: BurstArray) -> None:
        """Bursts that are over; they count in the minute of their first frame."""
        self._bursts = np.concatenate([self._bursts, bursts])

    def miss(self, kernel_drops: int, now_ms: int) -> None:
        """Frames that the kernel dropped by `now_ms`."""
        if kernel_drops:
            minute = now_ms // MINUTE_MS - self._next
            self._make_room(minute + 1)
            self._counts[_KERNEL_DROPS, minute] += kernel_drops

    def listen(self, begin_ms: int, end_ms: int) -> None:
        """The sensor listened from begin to end, and in between, whether or not it heard anything."""
        if self._begin_ms is None:
            self._begin_ms, self._next = begin_ms, begin_ms // MINUTE_MS
        self._end_ms = max(self._end_ms, end_ms)

    def over(self, instants_ms: NDArray[np.int64]) -> list[pa.RecordBatch | None]:
        """Rows of the minutes that are over at each of these instants, if any, and were not at the one before it."""
        lasts = np.minimum((instants_ms - MAX_SPAN_MS) // MINUTE_MS, self._end_ms // MINUTE_MS) - 1
        ends = np.maximum(lasts + 1 - self._next, 0).tolist()
        rows = self._send(int(lasts[-1]))
        return [
            rows_of(rows, begin, end) if rows is not None and begin < end else None
            for begin, end in pairwise([0, *ends])
        ]

    def finish(self) -> pa.RecordBatch | None:
        """Rows of everything left, at the end of listening."""
        return self._send(self._end_ms // MINUTE_MS)

    def _make_room(self, minutes: int) -> None:
        """Let the counts hold so many minutes, if they do not yet."""
        lacking = minutes - self._counts.shape[1]
        if lacking > 0:
            self._counts = np.pad(self._counts, ((0, 0), (0, lacking)))

    def _send(self, last: int) -> pa.RecordBatch | None:
        if self._begin_ms is None or last < self._next:
            return None
        minutes = np.arange(self._next, last + 1)
        starts = minutes * MINUTE_MS
        done = self._bursts["first"] // MINUTE_MS <= last
        bursts, self._bursts = self._bursts[done], self._bursts[~done]
        listened = np.minimum(self._end_ms, starts + MINUTE_MS) - np.maximum(self._begin_ms, starts)
        self._make_room(len(minutes))
        counts, self._counts = self._counts[:, : len(minutes)], self._counts[:, len(minutes) :]
        columns = {
            **{name: pa.array([text] * len(minutes), pa.string()) for name, text in self._names.items()},
            "minute": pa.array(starts, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
            "business_date": pa.array(self._days.numbers_at(starts), pa.int32()).cast(pa.date32()),
            "listening_s": pa.array(listened / 1000, pa.float64()),
            **{name: pa.array(row.astype(np.uint32)) for name, row in zip(_COUNTS, counts, strict=True)},
            **self._bands(bursts, len(minutes)),
        }
        self._next = last + 1
        return pa.RecordBatch.from_arrays([columns[name] for name in SENSOR_MINUTES.names], schema=SENSOR_MINUTES)

    def _bands(self, bursts: BurstArray, count: int) -> dict[str, pa.Array]:
        """Bursts, and addresses by their nearest burst, in each of `count` minutes from `_next` on and in each band."""
        minute = bursts["first"] // MINUTE_MS - self._next
        slot = 2 * minute + (bursts["class"] != AddressClass.RANDOM)
        order = np.lexsort((bursts["mac"], slot))
        slot, mac, rssi = slot[order], bursts["mac"][order], bursts["rssi"][order]
        starts = np.ones(len(order), bool)
        starts[1:] = (slot[1:] != slot[:-1]) | (mac[1:] != mac[:-1])
        heads = np.flatnonzero(starts)
        nearest = np.maximum.reduceat(rssi, heads) if len(heads) else rssi
        columns = {}
        for what, slots, signal in (("bursts", slot, rssi), ("addresses", slot[heads], nearest)):
            totals = _by_band(slots, signal, 2 * count)
            for name, of_class in (("random", totals[0::2]), ("stable", totals[1::2])):
                for band, column in zip(BANDS, of_class.T, strict=True):
                    columns[f"{name}_{what}_{band}"] = pa.array(column.astype(np.uint32))
        return columns


def _by_band(slot: NDArray[np.int64], rssi_dbm: NDArray[np.int8], slots: int) -> NDArray[np.int64]:
    """How many there are of each slot (rows) at or above the edge of each band (columns)."""
    bands = len(_EDGES_DBM)
    # The nearest band that each reaches: the edges fall.
    nearest = np.searchsorted(-_EDGES_DBM, -rssi_dbm.astype(np.int64), "left")
    alone = np.bincount(slot * bands + nearest, minlength=slots * bands).reshape(slots, bands)
    totals: NDArray[np.int64] = alone.cumsum(axis=1)
    return totals


def rows_of(table: pa.RecordBatch, begin: int, end: int) -> pa.RecordBatch:
    """Some rows of a table, copied: a mere slice is written with the padding of the buffers it lies in, so that what is
    sent would differ with the size of the blocks."""
    return pa.concat_batches([table.slice(begin, end - begin)])
