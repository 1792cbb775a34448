"""One sensor's run: blocks of frames in, batches of sightings and minute rows out, by event time alone.

The same for a file, a pipe and an interface; only where the blocks come from differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from footfall_events.business_days import date_of
from footfall_events.schemas import SIGHTINGS, AddressClass
from footfall_events.sighting_batches import BatchHeader
from footfall_events.stores import PrivacyPolicy, StoreConfig
from numpy.typing import NDArray

from footfall_collectors.bursts import BURST, BurstArray, OpenBursts
from footfall_collectors.dot11 import IGNORED, REJECTED, AddressMemory, Block, judge
from footfall_collectors.pseudonyms import Pseudonyms
from footfall_collectors.radio_minutes import RadioMinutes, rows_of
from footfall_collectors.radiotap import NO_SIGNAL

VERSION = "0.1.0"
_NOTHING = pa.RecordBatch.from_pylist([], schema=SIGHTINGS)


@dataclass(frozen=True)
class Output:
    """Something to send: a batch of sightings with its header, or sensor minutes (no header)."""

    at_ms: int
    header: BatchHeader | None
    rows: pa.RecordBatch


@dataclass(frozen=True)
class Batching:
    """How often batches leave, in event time, and how large they may be; no sighting waits longer.

    The heartbeat divides a minute and beats half a period after it begins. A batch's clock is at most one
    burst behind its beat, so every minute that a sensor listens through has a batch clock of its own.
    """

    heartbeat_ms: int = 60_000
    max_rows: int = 2_000

    def next_beat_ms(self, after_ms: int) -> int:
        """The first beat later than an instant, epoch ms."""
        phase = self.heartbeat_ms // 2
        return ((after_ms - phase) // self.heartbeat_ms + 1) * self.heartbeat_ms + phase


@dataclass
class Heard:
    """What a session took, gave and dropped: counts by kind, and by reason where something was dropped."""

    frames: int = 0
    kernel_drops: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    sightings: int = 0
    dropped_sightings: Counter[str] = field(default_factory=Counter)


class _Batch(NamedTuple):
    epoch: int
    first_ms: int
    rows: pa.RecordBatch


class SensorSession:
    """State of one sensor between two batches. `sensor_clock_ms` of its batches never goes back."""

    def __init__(
        self,
        store: StoreConfig,
        privacy: PrivacyPolicy,
        sensor_id: str,
        boot_id: str,
        pseudonyms: Pseudonyms,
        batching: Batching,
    ) -> None:
        self._store, self._privacy, self._batching = store, privacy, batching
        self._sensor_id, self._boot_id = sensor_id, boot_id
        self._pseudonyms = pseudonyms
        self._days = store.versions[0].business_days
        self._memory, self._open = AddressMemory(), OpenBursts()
        self._minutes = RadioMinutes(store.store_id, sensor_id, boot_id, self._days)
        self._waiting: BurstArray = np.empty(0, BURST)  # stable bursts that are over, for the next batch
        self._seq = 0
        self._clock_ms = 0
        self._beat_ms: int | None = None
        self.heard = Heard()

    def advance(self, block: Block, now_ms: int | None = None) -> Iterator[Output]:
        """Take the frames of a block and give what is due by its last one, or by `now_ms` if quiet followed it."""
        if now_ms is None:
            if not len(block.ts_ms):
                return
            now_ms = int(block.ts_ms[-1])
        if self._beat_ms is None:
            begin_ms = int(block.ts_ms[0]) if len(block.ts_ms) else now_ms
            self._beat_ms = self._batching.next_beat_ms(begin_ms)
            # A store's watermark waits for the sensors it knows of: this one makes itself known at once.
            yield from self._sent(begin_ms, begin_ms, [])
        growing = np.empty(0, BURST)
        parts = list(self._by_settings(block))
        for number, part in enumerate(parts, start=1):
            until_ms = now_ms if number == len(parts) else int(part.ts_ms[-1])
            day = date_of(self._days.number_at(int(part.ts_ms[0]) if len(part.ts_ms) else now_ms))
            frames = judge(part, self._store.settings_on(day), self._memory)
            self._count(frames.verdict)
            over, growing = self._open.add(frames, until_ms)
            self._minutes.hear(frames)
            self._minutes.keep(over)
            self._waiting = np.concatenate([self._waiting, _stable(over)])
        self._minutes.listen(now_ms, now_ms)
        self._minutes.miss(block.kernel_drops, now_ms)
        self.heard.kernel_drops += block.kernel_drops
        yield from self._due(now_ms, np.concatenate([self._waiting, _stable(growing)]))

    def finish(self, end_ms: int) -> Iterator[Output]:
        """The end of the capture: everything left leaves."""
        left = self._open.finish()
        self._minutes.keep(left)
        rows, self._waiting = np.concatenate([self._waiting, _stable(left)]), np.empty(0, BURST)
        (batches,) = self._batches(rows, np.zeros(len(rows), np.int64), 1)
        yield from self._sent(end_ms, end_ms, batches)
        minutes = self._minutes.finish()
        if minutes is not None:
            yield Output(end_ms, None, minutes)

    def final(self, clock_ms: int) -> Output:
        """The batch that closes the store: no rows, its clock the largest of all sensors'."""
        header = self._header(clock_ms, self._epoch_at(clock_ms), final=True)
        return Output(clock_ms, header, _NOTHING)

    # -- inside ----------------------------------------------------------------------------------------

    def _epoch_at(self, instant_ms: int) -> int:
        return self._privacy.epoch_of(self._days.number_at(instant_ms))

    def _by_settings(self, block: Block) -> Iterator[Block]:
        """The block, cut at business days if the store's settings ever change."""
        if len(self._store.versions) == 1:
            yield block
            return
        days = self._days.numbers_at(block.ts_ms)
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        for begin, end in pairwise(cuts):
            yield block.slice(begin, end)

    def _count(self, verdict: NDArray[np.uint8]) -> None:
        totals = np.bincount(verdict, minlength=20).tolist()
        self.heard.frames += len(verdict)
        for names, counter in ((REJECTED, self.heard.rejected), (IGNORED, self.heard.ignored)):
            for code, reason in names.items():
                if totals[code]:
                    counter[reason] += totals[code]

    def _due(self, now_ms: int, stable: BurstArray) -> Iterator[Output]:
        """A batch for every heartbeat up to `now_ms`; `stable` are the bursts over or open by then."""
        assert self._beat_ms is not None
        beats = np.arange(self._beat_ms, now_ms + 1, self._batching.heartbeat_ms)
        if not len(beats):
            return
        leaves_at = np.searchsorted(beats, stable["closes_at"], "left")
        clocks = _clocks(beats, stable["first"], leaves_at)
        leaves_at = leaves_at[: len(self._waiting)]
        leaving = leaves_at < len(beats)
        batches = self._batches(self._waiting[leaving], leaves_at[leaving], len(beats))
        self._waiting = self._waiting[~leaving]
        minutes = self._minutes.over(beats)
        for number, (beat_ms, clock_ms) in enumerate(zip(beats.tolist(), clocks.tolist(), strict=True)):
            yield from self._sent(beat_ms, clock_ms, batches[number])
            rows = minutes[number]
            if rows is not None:
                yield Output(beat_ms, None, rows)
        self._beat_ms = self._batching.next_beat_ms(now_ms)

    def _sent(self, at_ms: int, clock_ms: int, batches: list[_Batch]) -> Iterator[Output]:
        """The batches that leave at an instant; one without rows if there is none."""
        # Until the last one has left, the clock is the start of the first row still to come.
        to_come = [*(batch.first_ms for batch in batches[1:]), clock_ms]
        for batch, next_ms in zip(batches, to_come, strict=False):
            self._clock_ms = max(self._clock_ms, min(next_ms, clock_ms))
            yield Output(at_ms, self._header(self._clock_ms, batch.epoch), batch.rows)
        if not batches:
            self._clock_ms = max(self._clock_ms, clock_ms)
            yield Output(at_ms, self._header(self._clock_ms, self._epoch_at(self._clock_ms)), _NOTHING)

    def _batches(self, bursts: BurstArray, leaves_at: NDArray[np.int64], beats: int) -> list[list[_Batch]]:
        """What leaves at each beat, in the order of the rows' starts: of one epoch and at most `max_rows` each."""
        batches: list[list[_Batch]] = [[] for _ in range(beats)]
        if not len(bursts):
            return batches
        epochs = self._days.numbers_at(bursts["first"]) // self._privacy.days
        ids, named = self._device_ids(epochs, bursts["mac"])
        order = np.lexsort((ids, bursts["closes_at"], bursts["first"], epochs, leaves_at))
        order = order[named[order]]
        if not len(order):
            return batches
        self.heard.sightings += len(order)
        firsts, epochs, leaves_at = bursts["first"][order], epochs[order], leaves_at[order]
        table = _sightings(bursts[order], ids[order])
        borders = np.flatnonzero((np.diff(leaves_at) != 0) | (np.diff(epochs) != 0)) + 1
        for begin, end in pairwise([0, *borders.tolist(), len(order)]):
            for at in range(begin, end, self._batching.max_rows):
                rows = rows_of(table, at, min(at + self._batching.max_rows, end))
                batches[leaves_at[at]].append(_Batch(int(epochs[at]), int(firsts[at]), rows))
        return batches

    def _device_ids(
        self, epochs: NDArray[np.int32], macs: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Ids of the addresses, each in its epoch, and which have one: those of a destroyed epoch are counted only."""
        ids, named = np.zeros(len(macs), np.uint64), np.ones(len(macs), bool)
        for epoch in np.unique(epochs).tolist():
            of_epoch = epochs == epoch
            found = self._pseudonyms.device_ids(epoch, macs[of_epoch])
            if found is None:
                self.heard.dropped_sightings["destroyed_epoch"] += int(of_epoch.sum())
                named[of_epoch] = False
            else:
                ids[of_epoch] = found
        return ids, named

    def _header(self, clock_ms: int, epoch: int, *, final: bool = False) -> BatchHeader:
        header = BatchHeader(
            self._store.store_id, self._sensor_id, self._boot_id, self._seq, clock_ms, epoch, VERSION, final
        )
        self._seq += 1
        return header


def _clocks(beats: NDArray[np.int64], first: NDArray[np.int64], leaves_at: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the batch of each beat promises: the start of the oldest burst that is open at it, or the beat itself.

    A burst is open at the beats from the one after `first` on, up to the one at which it leaves.
    """
    clocks = beats.copy()
    at = np.searchsorted(beats, first, "right")
    while (is_open := at < leaves_at).any():
        first, at, leaves_at = first[is_open], at[is_open], leaves_at[is_open]
        np.minimum.at(clocks, at, first)
        at = at + 1
    return clocks


def _stable(bursts: BurstArray) -> BurstArray:
    stable: BurstArray = bursts[bursts["class"] != AddressClass.RANDOM]
    return stable


def _sightings(bursts: BurstArray, ids: NDArray[np.uint64]) -> pa.RecordBatch:
    unheard = bursts["rssi"] == NO_SIGNAL
    columns = {
        "device_id": pa.array(ids, pa.uint64()),
        "observed_at": pa.array(bursts["first"], pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
        "span_ms": pa.array((bursts["last"] - bursts["first"]).astype(np.uint16)),
        "rssi_dbm": pa.array(bursts["rssi"], pa.int8(), mask=unheard),
        "frames": pa.array(bursts["frames"], pa.uint16()),
        "freq_mhz": pa.array(bursts["freq"], pa.uint16()),
        "address_class": pa.array(bursts["class"], pa.int8()),
        "frame_kinds": pa.array(bursts["kinds"], pa.uint8()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SIGHTINGS.names], schema=SIGHTINGS)
