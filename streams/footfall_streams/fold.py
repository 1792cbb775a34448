"""One step of the job: a chunk of messages in, output rows and changed state out. Pure: no clock, no I/O.

The result equals taking the messages one by one. Each store's messages are cut where its watermark enters a
new minute; the n-th pieces of all stores are folded together, one vectorised pass a round. A store's minutes
are published at those cuts, so what is published, and its version, is the same under any chunking.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from footfall_events.errors import ConfigError
from footfall_events.rows import encode_each
from footfall_events.sighting_batches import encode_sightings, open_sightings
from footfall_events.sighting_reader import SightingsReader
from footfall_events.stores import MAX_SENSORS, ChainConfig
from footfall_events.topics import STORE_MINUTES, VISITS
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.events import Batch, Chunk, Message, read_batches
from footfall_streams.journal import MINUTES, PRESENCES, Journals, Layout
from footfall_streams.minutes import (
    MINUTE,
    Deltas,
    MinuteRows,
    Minutes,
    add_fold,
    add_points,
    holds,
    minute_keys,
    starts_ms,
    stores_of,
)
from footfall_streams.outputs import minute_rows, visit_rows
from footfall_streams.presences import HEARD, PRESENCE, PresenceRows, Presences, single_sightings
from footfall_streams.segments import last_of_each, stretches
from footfall_streams.state import State, read_json, write_json
from footfall_streams.step import Output, Step
from footfall_streams.store_days import StoreDayRows, StoreDays
from footfall_streams.watermark import StoreClock

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
_FORGET_MS = 600_000
_STORE_SHIFT = 44
_EPOCH_SHIFT = 48
DEFAULT_LAYOUT = Layout()
_BYTES_AT_ONCE = 16 * 1024 * 1024  # some 600,000 sightings
_ROWS_A_MESSAGE = 2000  # keeps a message of visits near 200 kB


@dataclass(frozen=True)
class _Taken:
    """A batch that is new: its place in the chunk, the round it is folded in, the watermark around it."""

    batch: Batch
    place: int
    round: int
    before_ms: int
    after_ms: int
    horizon_ms: int
    publishes: bool


@dataclass
class _Revised:
    """Rows to send downstream and rows that are no more, collected over the rounds of a chunk."""

    visits: list[tuple[PresenceRows, NDArray[np.int64], NDArray[np.uint8]]] = field(default_factory=list)
    minutes: list[tuple[MinuteRows, NDArray[np.int64]]] = field(default_factory=list)
    gone_presences: list[PresenceRows] = field(default_factory=lambda: [Columns.zeros(0, PRESENCE)])
    gone_minutes: list[MinuteRows] = field(default_factory=lambda: [Columns.zeros(0, MINUTE)])


def _parts(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """The messages in pieces that are folded one after the other: what is in memory at once depends on their bytes."""
    begin, size = 0, 0
    for place, message in enumerate(messages):
        if size and size + len(message.value) > _BYTES_AT_ONCE:
            yield messages[begin:place]
            begin, size = place, 0
        size += len(message.value)
    if begin < len(messages):
        yield messages[begin:]


class StoreJob:
    """The state of every store this worker owns, and the one operation on it: `take` a chunk.

    Stores are numbered in the order of their ids. A store's state lives in the partition that its key maps to.
    """

    def __init__(
        self, chain: ChainConfig, partition_of: Callable[[bytes], int], layout: Layout = DEFAULT_LAYOUT
    ) -> None:
        self._ids = sorted(chain.stores)
        self._keys = [store_id.encode() for store_id in self._ids]
        self._numbers = {store_id: number for number, store_id in enumerate(self._ids)}
        self._configs = [chain.stores[store_id] for store_id in self._ids]
        self._partitions = [partition_of(store_id.encode()) for store_id in self._ids]
        self._watermark = np.zeros(len(self._ids), np.int64)
        self._forgotten_ms = np.zeros(len(self._ids), np.int64)
        self._log_epoch = np.zeros(len(self._ids), np.int64)
        self._gap_ms = np.array([StoreClock(config).longest_gap_ms for config in self._configs], np.int64)
        self._horizon_ms = np.array([c.revision_horizon_s * 1000 for c in self._configs], np.int64)
        self._days = StoreDays(self._configs)
        self._layout = layout
        self._reader = SightingsReader()
        self.release_all()

    def watermarks(self) -> dict[str, int]:
        """Watermark of each store heard so far, epoch ms."""
        return {self._ids[store]: clock.watermark_ms for store, clock in self._clocks.items()}

    # -- ownership -------------------------------------------------------------------------------------

    def release_all(self) -> None:
        """Forget everything: the partitions are another worker's now, or about to be restored."""
        self._clocks: dict[int, StoreClock] = {}
        self._watermark[:], self._forgotten_ms[:] = 0, 0
        self.presences, self.minutes = Presences(), Minutes(len(self._ids))
        self._of_presences, self._of_minutes = (
            Journals(kind, self._ids, self._partitions, self._layout) for kind in (PRESENCES, MINUTES)
        )

    def restore(self, partition: int, log_epoch: int, state: State) -> None:
        """Take over a partition's state as its last committed step left it."""
        self._log_epoch[np.array(self._partitions) == partition] = log_epoch
        for key, value in state.items():
            kind, _, store_id = key.decode().partition("/")
            store = self._numbers.get(store_id)
            # The clock of a store that left the configuration stays until it returns.
            if kind == "clock" and value is not None and store is not None:
                clock = StoreClock.from_state(self._configs[store], read_json(value))
                self._clocks[store], self._watermark[store] = clock, clock.watermark_ms
        self.presences.add(self._of_presences.restore(partition, state))
        self.minutes.add(self._of_minutes.restore(partition, state))
        self._settle()

    # -- the step --------------------------------------------------------------------------------------

    def take(self, messages: Sequence[Message]) -> Step:
        """Fold the messages in, in the order given (ascending offsets within each partition)."""
        step, revised = Step(), _Revised()
        taken = [piece for part in _parts(messages) for piece in self._fold(part, step, revised)]
        if taken:
            self._forget(taken, revised)
            self._write_visits(revised, step)
            self._write_minutes(revised, step)
            self._write_state(taken, revised, step)
            self._settle()
        return step

    def _fold(self, messages: Sequence[Message], step: Step, revised: _Revised) -> list[_Taken]:
        """Change the state by the messages; the batches that were new."""
        chunk = read_batches(messages, self._numbers, self._configs, self._partitions, self._reader)
        for message, reason in chunk.poison:
            step.dead_letter(message, message.value, reason)
        taken = self._schedule(chunk.batches, step)
        if not taken:
            return taken
        sightings, ends = self._sightings(taken, chunk, step)
        self.presences.recall(sightings, self._watermark, self._gap_ms)
        for number, (begin, end) in enumerate(pairwise([0, *ends.tolist()])):
            pieces = [piece for piece in taken if piece.round == number]
            self._round(pieces, sightings[begin:end], revised)
        return taken

    def _schedule(self, batches: list[Batch], step: Step) -> list[_Taken]:
        """Run the clocks over the batches one by one: which are new, and in which round each is folded."""
        rounds: dict[int, int] = defaultdict(int)
        taken = []
        for place, batch in enumerate(batches):
            clock = self._clocks.get(batch.store)
            if clock is None:
                clock = self._clocks[batch.store] = StoreClock(self._configs[batch.store])
            before, horizon = clock.watermark_ms, clock.horizon_ms
            beyond = clock.is_beyond(batch.header)
            if not beyond and not clock.take(batch.header):
                step.counts["duplicate_batches"] += 1
                continue
            # Nothing may come after a final batch that would move the watermark into another minute.
            publishes = not beyond and (clock.minute_is_due or batch.header.final)
            piece = _Taken(batch, place, rounds[batch.store], before, clock.watermark_ms, horizon, publishes)
            taken.append(piece)
            if publishes:
                clock.published_ms = clock.watermark_ms
                rounds[batch.store] += 1
        step.counts["batches"] += len(taken)
        return taken

    def _sightings(self, taken: list[_Taken], chunk: Chunk, step: Step) -> tuple[PresenceRows, NDArray[np.int64]]:
        """Every sighting that can belong to a presence, as rows of one sighting each, and where each round's end."""
        heard, lengths = chunk.rows, chunk.lengths
        places = np.array([piece.place for piece in taken])
        if len(taken) < len(chunk.batches):
            is_taken = np.zeros(len(chunk.batches), bool)
            is_taken[places] = True
            heard, lengths = heard[np.repeat(is_taken, lengths)], lengths[places]
        stores = np.array([piece.batch.store for piece in taken], np.int32)

        def spread(values: Iterable[int]) -> NDArray[np.int64]:
            return np.repeat(np.fromiter(values, np.int64, len(taken)), lengths)

        days = self._days_of(stores, chunk.earliest[places], chunk.latest[places], lengths, heard["first"])
        too_late = heard["first"] < spread(piece.horizon_ms for piece in taken)
        audible = heard["rssi"] >= days["passer_by_dbm"]
        step.counts["sightings"] += len(heard)
        step.counts["late_sightings"] += int((heard["first"] < spread(piece.before_ms for piece in taken)).sum())
        step.counts["dropped_sightings/beyond_horizon"] += int(too_late.sum())
        step.counts["dropped_sightings/too_weak"] += int((~audible & ~too_late).sum())
        self._bury_too_late(taken, lengths, too_late, step)
        keep = np.flatnonzero(audible & ~too_late)
        # Numbers below 65,536 are sorted in two passes. A round has a message, and no part has so many.
        rounds = spread(piece.round for piece in taken)[keep].astype(np.uint16)
        keep = keep[np.argsort(rounds, kind="stable")]
        ends = np.cumsum(np.bincount(rounds, minlength=max(piece.round for piece in taken) + 1))
        piece_of = np.repeat(np.arange(len(taken)), lengths)[keep]
        heard, days = heard[keep], days[keep]
        told: dict[str, NDArray[Any]] = {
            "store": stores[piece_of],
            "epoch": np.array([piece.batch.header.key_epoch for piece in taken], np.uint32)[piece_of],
            "touched": np.array([piece.batch.message.offset for piece in taken], np.int64)[piece_of],
        }
        return single_sightings({**told, **{name: heard[name] for name in HEARD}}, days), ends

    def _days_of(
        self,
        stores: NDArray[np.int32],
        earliest: NDArray[np.int64],
        latest: NDArray[np.int64],
        lengths: NDArray[np.int64],
        first: NDArray[np.int64],
    ) -> StoreDayRows:
        """The business day of every sighting; a batch that lies within one day is looked up as one."""
        days = self._days.lookup(stores, earliest)
        if np.array_equal(days.places, self._days.lookup(stores, latest).places):
            return days[np.repeat(np.arange(len(stores)), lengths)]
        return self._days.lookup(np.repeat(stores, lengths), first)

    def _bury_too_late(
        self, taken: list[_Taken], lengths: NDArray[np.int64], too_late: NDArray[np.bool_], step: Step
    ) -> None:
        if not too_late.any():
            return
        for piece, mask in zip(taken, np.split(too_late, np.cumsum(lengths)[:-1]), strict=True):
            if mask.any():
                header, rows = open_sightings(piece.batch.message.value)
                value = encode_sightings(header, rows.filter(pa.array(mask)))
                step.dead_letter(piece.batch.message, value, "beyond_horizon")

    def _round(self, pieces: list[_Taken], sightings: PresenceRows, revised: _Revised) -> None:
        """Fold one piece of every store's messages: merge, close, count, publish."""
        stores = np.array([piece.batch.store for piece in pieces], np.int64)
        for piece in pieces:
            self._watermark[piece.batch.store] = piece.after_ms
        deltas = Deltas()
        fold = self.presences.merge(sightings, self._days)
        add_fold(deltas, fold)
        withdrawn = (fold.before["closed"] == 1) & (fold.after["closed"][fold.group] == 0)
        gone = fold.before[withdrawn]
        revised.visits.append((gone, fold.after["touched"][fold.group[withdrawn]], np.ones(len(gone), np.uint8)))
        due = self.presences.close_due(self._watermark)
        closed = self.presences.rows[due]
        still_open = closed.copy()
        still_open["closed"] = 0
        add_points(deltas, still_open, -1)
        add_points(deltas, closed, 1)
        revised.visits.append((closed, self._closed_by(pieces, stores, closed), np.zeros(len(closed), np.uint8)))
        revised.gone_presences.append(fold.before[fold.before["first"] != fold.after["first"][fold.group]])
        self._hear(pieces)
        self.minutes.apply(deltas)
        self._publish(pieces, revised)

    def _closed_by(self, pieces: list[_Taken], stores: NDArray[np.int64], closed: PresenceRows) -> NDArray[np.int64]:
        """Offset of the last message that each closed row depends on: its last sighting, or its closing."""
        order = np.argsort(stores, kind="stable")
        after = np.array([piece.after_ms for piece in pieces], np.int64)[order]
        offsets = np.array([piece.batch.message.offset for piece in pieces], np.int64)[order]
        passed = (stores[order] << _STORE_SHIFT) | after
        wanted = (closed["store"].astype(np.int64) << _STORE_SHIFT) | closed["closes_at"]
        first: NDArray[np.int64] = offsets[np.searchsorted(passed, wanted, "left")]
        last: NDArray[np.int64] = np.maximum(first, closed["touched"])
        return last

    def _hear(self, pieces: list[_Taken]) -> None:
        # A clock behind the horizon touches no minute: the minute may be forgotten, and would come back empty.
        within = [piece for piece in pieces if piece.batch.header.sensor_clock_ms >= piece.horizon_ms]
        stores = np.array([piece.batch.store for piece in within], np.int32)
        clocks = np.array([piece.batch.header.sensor_clock_ms for piece in within], np.int64)
        bits = [self._sensor_bit(piece.batch) for piece in within]
        self.minutes.hear(minute_keys(stores, clocks), np.array(bits, np.uint64))

    def _sensor_bit(self, batch: Batch) -> int:
        # Sensors are numbered in the order in which the store's clock met them; its state keeps that order.
        number = list(self._clocks[batch.store].sensors).index(batch.header.sensor_id)
        if number >= MAX_SENSORS:
            raise ConfigError([f"store {batch.header.store_id} has had more than {MAX_SENSORS} sensors: reset it"])
        return 1 << number

    def _publish(self, pieces: list[_Taken], revised: _Revised) -> None:
        due = np.zeros(len(self._ids), bool)
        offset = np.zeros(len(self._ids), np.int64)
        for piece in pieces:
            if piece.publishes:
                due[piece.batch.store], offset[piece.batch.store] = True, piece.batch.message.offset
        if not due.any():
            return
        hold = holds(self.presences.rows, len(self._ids))
        rows = self.minutes.publish(due, self._watermark, self._gap_ms, hold)
        revised.minutes.append((rows, offset[stores_of(rows["key"])]))

    def _settle(self) -> None:
        """Lay apart what only something late can change."""
        self.presences.settle(self._watermark, self._gap_ms)
        self.minutes.settle()

    def _forget(self, taken: list[_Taken], revised: _Revised) -> None:
        """Drop what nothing acceptable can change any more, now and then, as all that is remembered is looked at.

        Of stores that published nothing in this step nothing is dropped: their partitions may write nothing.
        """
        published = {piece.batch.store for piece in taken if piece.publishes}
        for store in published:
            self._clocks[store].forget()
        upto = (self._watermark - self._horizon_ms - self._gap_ms) // _FORGET_MS * _FORGET_MS
        due = np.array([store for store in published if upto[store] > self._forgotten_ms[store]], np.int64)
        if not len(due):
            return
        self._forgotten_ms[due] = upto[due]
        oldest = np.full(len(self._ids), np.iinfo(np.int64).min)
        oldest[due] = upto[due]
        revised.gone_presences.append(self.presences.forget(oldest))
        # A presence that can still change may have begun a business day before the horizon.
        oldest[due] -= DAY_MS + 2 * HOUR_MS
        revised.gone_minutes.append(self.minutes.forget(oldest))

    # -- writing ---------------------------------------------------------------------------------------

    def _versions(self, stores: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
        return ((self._log_epoch[stores] << _EPOCH_SHIFT) | offsets).astype(np.uint64)

    def _emit(self, step: Step, topic: str, stores: NDArray[np.int64], batch: pa.RecordBatch) -> None:
        """Send the rows of a batch, which are sorted by store, each store's in messages of its own."""
        pieces = [
            (store, batch.slice(start, min(_ROWS_A_MESSAGE, end - start)))
            for store, begin, end in stretches(stores)
            for start in range(begin, end, _ROWS_A_MESSAGE)
        ]
        values = encode_each([rows for _, rows in pieces]) if pieces else []
        for (store, _), value in zip(pieces, values, strict=True):
            step.outputs[self._partitions[store]].append(Output(topic, self._keys[store], value))

    def _write_visits(self, revised: _Revised, step: Step) -> None:
        rows = Columns.concatenate([part[0] for part in revised.visits])
        offsets = np.concatenate([part[1] for part in revised.visits])
        deleted = np.concatenate([part[2] for part in revised.visits])
        net = last_of_each([rows["key"], rows["store"], rows["device"], rows["epoch"], rows["first"]])
        net = net[np.argsort(rows["store"][net], kind="stable")]
        rows, offsets, deleted = rows[net], offsets[net], deleted[net]
        days = self._days.lookup(rows["store"], rows["first"])
        versions = self._versions(rows["store"], offsets)
        batch = visit_rows(self._ids, rows, days, self._days.rule_labels, versions, deleted)
        self._emit(step, VISITS.name, rows["store"], batch)
        step.counts["visits"] += int((deleted == 0).sum())
        step.counts["withdrawn_visits"] += int(deleted.sum())

    def _write_minutes(self, revised: _Revised, step: Step) -> None:
        if not revised.minutes:
            return
        rows = Columns.concatenate([part[0] for part in revised.minutes])
        offsets = np.concatenate([part[1] for part in revised.minutes])
        net = last_of_each([rows["key"]])
        net = net[np.argsort(stores_of(rows["key"][net]), kind="stable")]
        rows, offsets = rows[net], offsets[net]
        stores = stores_of(rows["key"])
        days = self._days.lookup(stores.astype(np.int32), starts_ms(rows["key"]))["day"]
        batch = minute_rows(self._ids, rows, days, self._versions(stores, offsets))
        self._emit(step, STORE_MINUTES.name, stores, batch)
        step.counts["store_minutes"] += len(rows)

    def _write_state(self, taken: list[_Taken], revised: _Revised, step: Step) -> None:
        for store in {piece.batch.store for piece in taken}:
            key = f"clock/{self._ids[store]}".encode()
            step.state[self._partitions[store]][key] = write_json(self._clocks[store].to_state())
        partitions = {self._partitions[piece.batch.store] for piece in taken}
        for journals, parts, gone in (
            (self._of_presences, self.presences.parts(), revised.gone_presences),
            (self._of_minutes, self.minutes.parts(), revised.gone_minutes),
        ):
            for partition, key, value in journals.write(parts, Columns.concatenate(gone), partitions):
                step.state[partition][key] = value
