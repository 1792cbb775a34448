"""Rows of the state as journals in `checkpoints.v1`: a step appends what it changed, and gives up the oldest segments.

A segment is one message: rows as a step left them, or marked as gone. The newest segment that names a row says what
became of it. Once a journal holds several times as many rows as there are, its oldest segments are given up: the rows
whose last word is there are written again. So a step costs what it changes, whatever else is remembered, and a restore
reads a few times what there is. A mark goes with its segment, as nothing older is left that it speaks of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from footfall_events.rows import encode_each
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.minutes import MINUTE, at_store, stores_of
from footfall_streams.presences import PRESENCE, identity_hash
from footfall_streams.segments import last_of_each, stretches
from footfall_streams.state import State, hours_of_format_1, read_segment, segment_schema

Entries = list[tuple[int, bytes, bytes | None]]
"""Partition, key and value of entries to write; None is a tombstone."""


@dataclass(frozen=True)
class Layout:
    """When a step gives up segments, and how many rows go into one."""

    segment_rows: int = 16_384
    """Some 1.5 MB before compression, well within the topic's `max.message.bytes`."""
    least_rows: int = 64
    """What a segment counts for, however few rows it has: it is a message."""
    times: int = 4
    slack_rows: int = 4_096
    """A journal may hold so many times what there is, and so many rows more."""


@dataclass(frozen=True)
class Kind:
    """One kind of rows: what they have in memory, what tells them apart, and where their store's number is."""

    name: str
    dtype: np.dtype[np.void]
    in_memory: frozenset[str]
    identity: tuple[str, ...]
    stores: Callable[[Columns], NDArray[np.int64]]
    put_at: Callable[[Columns, NDArray[np.int64]], None]

    @property
    def schema(self) -> pa.Schema:
        """What a segment holds: store and mark, and the fields that are not in memory alone."""
        names = [name for name in self.dtype.names or () if name not in self.in_memory]
        fields = [pa.field(name, pa.from_numpy_dtype(self.dtype[name])) for name in names]
        return segment_schema([pa.field("store_id", pa.string()), pa.field("gone", pa.bool_()), *fields])


def _put_presences(rows: Columns, stores: NDArray[np.int64]) -> None:
    rows["store"] = stores
    rows["key"] = identity_hash(rows)


def _put_minutes(rows: Columns, stores: NDArray[np.int64]) -> None:
    rows["key"] = at_store(rows["key"], stores)


PRESENCES = Kind(
    "presences",
    PRESENCE,
    frozenset({"key", "store", "written"}),
    ("store", "device", "epoch", "day", "first"),
    lambda rows: rows["store"],
    _put_presences,
)
MINUTES = Kind("minutes", MINUTE, frozenset({"written"}), ("key",), lambda rows: stores_of(rows["key"]), _put_minutes)


@dataclass(frozen=True)
class _Part:
    """Rows of one entry, the numbers of their stores, and which of them are gone."""

    rows: Columns
    stores: NDArray[np.int64]
    gone: NDArray[np.bool_]

    @classmethod
    def empty(cls, kind: Kind) -> _Part:
        return cls(Columns.zeros(0, kind.dtype), np.empty(0, np.int64), np.empty(0, bool))


class Journals:
    """The journals of one kind of rows, one a partition: for how many rows each segment counts, oldest first.

    A row's `written` is the number of the segment that holds it as it is, 0 if none does.
    """

    def __init__(self, kind: Kind, store_ids: Sequence[str], partitions: Sequence[int], layout: Layout) -> None:
        """For stores by their number, and the partition of each."""
        self._kind, self._layout, self._configured = kind, layout, len(store_ids)
        # Stores that left the configuration get numbers behind it when their rows are met.
        self._ids, self._partitions = list(store_ids), np.array(partitions, np.int64)
        self._numbers = {store_id: number for number, store_id in enumerate(store_ids)}
        self._absent = Columns.zeros(0, kind.dtype)
        self._segments: dict[int, dict[int, int]] = defaultdict(dict)
        self._held: dict[int, int] = defaultdict(int)
        self._next: dict[int, int] = defaultdict(lambda: 1)
        self._older: dict[int, list[bytes]] = {}

    # -- reading ---------------------------------------------------------------------------------------

    def restore(self, partition: int, state: State) -> Columns:
        """The rows that a partition's state holds, but for those of stores that left the configuration.

        The latter are kept aside and written again where need be, until their store returns.
        """
        kind = self._kind
        parts = [_Part.empty(kind), *self._older_entries(partition, state), *self._read(partition, state)]
        rows = Columns.concatenate([part.rows for part in parts])
        kind.put_at(rows, np.concatenate([part.stores for part in parts]))
        newest = last_of_each([rows[name] for name in kind.identity])
        there: NDArray[np.int64] = newest[~np.concatenate([part.gone for part in parts])[newest]]
        configured = kind.stores(rows)[there] < self._configured
        self._absent = Columns.concatenate([self._absent, rows[there[~configured]]])
        return rows[there[configured]]

    def _read(self, partition: int, state: State) -> Iterator[_Part]:
        """What each segment says, oldest first."""
        values = {}
        for key, value in state.items():
            named, _, place = key.decode().partition("/")
            if value is not None and named == self._kind.name and place.isdecimal():
                values[int(place)] = value
        for number, value in sorted(values.items()):
            batch = read_segment(value)
            self._hold(partition, number, batch.num_rows)
            rows = _rows_of(batch, self._kind.dtype)
            rows["written"] = number
            gone = batch.column("gone").to_numpy(zero_copy_only=False)
            yield _Part(rows, self._stores(partition, batch.column("store_id")), gone)

    def _older_entries(self, partition: int, state: State) -> Iterator[_Part]:
        """What entries by store and hour say; the partition's next step replaces them."""
        self._older[partition] = []
        for key, store_id, old in hours_of_format_1(state, self._kind.name):
            store = self._numbers.get(store_id, self._configured)
            if store >= self._configured:
                continue  # a store that left the configuration: its entries stay until it returns
            rows = Columns.zeros(len(old), self._kind.dtype)
            for name in old.dtype.names or ():
                rows[name] = old[name]
            self._older[partition].append(key)
            yield _Part(rows, np.full(len(rows), store), np.zeros(len(rows), bool))

    def _stores(self, partition: int, store_ids: pa.Array) -> NDArray[np.int64]:
        encoded = store_ids.dictionary_encode()
        named = encoded.dictionary.to_pylist()
        for store_id in named:
            if store_id not in self._numbers:
                self._numbers[store_id] = len(self._ids)
                self._ids.append(store_id)
                self._partitions = np.append(self._partitions, partition)
        numbers = np.array([self._numbers[store_id] for store_id in named], np.int64)
        stores: NDArray[np.int64] = numbers[encoded.indices.to_numpy()]
        return stores

    # -- writing ---------------------------------------------------------------------------------------

    def write(self, there: Sequence[Columns], gone: Columns, partitions: Collection[int]) -> Entries:
        """Every entry that changes in these partitions.

        `there` are all rows that there are, in parts, and learn where they are `written`; `gone` are rows that were, as
        they were. The more rows there are, the more are counted; only those to be written are handled one by one.
        """
        fresh = [self._home(part, np.flatnonzero(part["written"] == 0)) for part in there]
        upto, entries = self._give_up(there, np.concatenate([*fresh, self._home(gone)]), partitions)
        parts = [self._absent, *there]
        places = [self._to_write(part, upto) for part in parts]
        together = Columns.concatenate([gone, *(part[chosen] for part, chosen in zip(parts, places, strict=True))])
        numbers = self._append(together, self._home(together), len(gone), entries)[len(gone) :]
        for part, chosen in zip(parts, places, strict=True):
            part["written"][chosen], numbers = numbers[: len(chosen)], numbers[len(chosen) :]
        return entries

    def _home(self, rows: Columns, places: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.int64]:
        """Partition of each row, or of those at the places."""
        home: NDArray[np.int64] = self._partitions[self._kind.stores(rows)[places]]
        return home

    def _to_write(self, part: Columns, upto: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the rows that no segment behind the given one of their partition holds."""
        places = np.flatnonzero(part["written"] <= max(0, int(upto.max())))
        chosen: NDArray[np.int64] = places[part["written"][places] <= upto[self._home(part, places)]]
        return chosen

    def _give_up(
        self, there: Sequence[Columns], fresh: NDArray[np.int64], partitions: Collection[int]
    ) -> tuple[NDArray[np.int64], Entries]:
        """By partition: the newest segment whose rows are to be written again (0: only rows that none holds, -1: none).

        And the tombstones. `fresh` are the partitions of the rows to be written in any case. A step gives up at most
        twice what it writes, so that it costs no more than that.
        """
        count = int(self._partitions.max()) + 1
        of_store = sum(np.bincount(self._kind.stores(part), minlength=len(self._ids)) for part in there)
        there_are = np.bincount(self._partitions, of_store, count).tolist()
        writes = np.bincount(fresh, minlength=count).tolist()
        upto, entries, layout = np.full(count, -1), Entries(), self._layout
        for partition in partitions:
            segments, upto[partition] = self._segments[partition], 0
            held = self._held[partition] + writes[partition]
            most = layout.times * there_are[partition] + layout.slack_rows
            left = 2 * max(writes[partition], layout.least_rows) if writes[partition] else 0
            while held > most and left > 0 and segments:
                number = next(iter(segments))
                size = segments.pop(number)
                self._held[partition] -= size
                held, left, upto[partition] = held - size, left - size, number
                entries.append((partition, self._key(number), None))
            entries += [(partition, key, None) for key in self._older.pop(partition, [])]
        return upto, entries

    def _append(self, rows: Columns, home: NDArray[np.int64], gone: int, entries: Entries) -> NDArray[np.uint32]:
        """Write the rows, the first of which are `gone`, to new segments; the number of each row's."""
        order, size = np.argsort(home, kind="stable"), self._layout.segment_rows
        batch = self._batch(rows[order], order < gone)
        pieces = [
            (partition, at, min(at + size, end))
            for partition, begin, end in stretches(home[order])
            for at in range(begin, end, size)
        ]
        values = encode_each([batch.slice(begin, end - begin) for _, begin, end in pieces]) if pieces else []
        numbers = np.empty(len(order), np.uint32)
        for (partition, begin, end), value in zip(pieces, values, strict=True):
            number = self._next[partition]
            self._hold(partition, number, end - begin)
            numbers[order[begin:end]] = number
            entries.append((partition, self._key(number), value))
        return numbers

    def _hold(self, partition: int, number: int, rows: int) -> None:
        """There is a segment of so many rows."""
        size = max(rows, self._layout.least_rows)
        self._segments[partition][number] = size
        self._held[partition] += size
        self._next[partition] = number + 1

    def _key(self, number: int) -> bytes:
        return f"{self._kind.name}/{number}".encode()

    def _batch(self, rows: Columns, gone: NDArray[np.bool_]) -> pa.RecordBatch:
        schema = self._kind.schema
        names = pa.array(self._ids, pa.string()).take(pa.array(self._kind.stores(rows)))
        return pa.RecordBatch.from_arrays([names, gone, *(rows[name] for name in schema.names[2:])], schema=schema)


def _rows_of(batch: pa.RecordBatch, dtype: np.dtype[np.void]) -> Columns:
    """A segment's rows; what it does not know is zero, what is not known of it is left out."""
    rows = Columns.zeros(batch.num_rows, dtype)
    for name in set(dtype.names or ()) & set(batch.schema.names):
        rows[name] = batch.column(name).to_numpy()
    return rows
