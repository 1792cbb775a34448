"""Which messages make one insert: as many as come in a limited time, up to a number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import pyarrow as pa
from footfall_events import schemas, topics
from footfall_events.errors import PoisonEvent
from footfall_events.rows import RowsPart, RowsReader, refuse_nulls

from footfall_sinks.row_limits import refuse_values


@dataclass(frozen=True)
class Target:
    """Where one topic's rows go."""

    table: str
    schema: pa.Schema

    @cached_property
    def reader(self) -> RowsReader:
        """Reads the topic's messages."""
        return RowsReader(self.schema)


TARGETS: dict[str, Target] = {
    topics.VISITS.name: Target("visits_log", schemas.VISITS),
    topics.STORE_MINUTES.name: Target("store_minutes_log", schemas.STORE_MINUTES),
    topics.SENSOR_MINUTES.name: Target("sensor_minutes_log", schemas.SENSOR_MINUTES),
}

Place = tuple[str, int]
"""Topic and partition."""


class Item(NamedTuple):
    """One message: its rows, or the reason why it has none and its bytes as they came."""

    offset: int
    key: bytes | None
    part: RowsPart | None
    poison: str = ""
    unread: bytes = b""

    @property
    def value(self) -> bytes:
        """The message as it came."""
        return self.part.value if self.part is not None else self.unread

    def poisoned(self, reason: str) -> Item:
        """The same message without rows."""
        return Item(self.offset, self.key, None, reason, self.value)


@dataclass(frozen=True)
class Block:
    """Consecutive messages of one partition, inserted together; never changes once cut."""

    topic: str
    partition: int
    items: tuple[Item, ...]
    is_apart: bool = False
    """Inserted by itself, for the store has refused it among others."""

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def next_offset(self) -> int:
        """The offset to commit: the message after the last one."""
        return self.items[-1].offset + 1

    @property
    def rows(self) -> int:
        return sum(item.part.num_rows for item in self.items if item.part is not None)

    def table(self) -> pa.Table:
        """All rows, in the order of the log, each column in one piece."""
        return self._table

    @cached_property
    def _table(self) -> pa.Table:
        return _joined(self.topic, self.items)

    def apart(self) -> Block:
        """The same block, to be inserted by itself."""
        return replace(self, is_apart=True)

    def alone(self, item: Item) -> Block:
        """One message of this block as a block that is inserted by itself."""
        return Block(self.topic, self.partition, (item,), is_apart=True)


def joined(blocks: Sequence[Block]) -> pa.Table:
    """The rows of blocks of one topic, each column in one piece."""
    if len(blocks) == 1:
        return blocks[0].table()
    return pa.concat_tables([block.table() for block in blocks]).combine_chunks()


def read_item(topic: str, offset: int, key: bytes | None, value: bytes) -> Item:
    """Decode and judge one message; a poisoned one keeps its bytes for the dead letters."""
    return _judged_alone(topic, open_item(topic, offset, key, value))


def open_item(topic: str, offset: int, key: bytes | None, value: bytes) -> Item:
    """Open one message; its rows are read and judged with those of its whole block, for a third of the time."""
    try:
        return Item(offset, key, TARGETS[topic].reader.open(value))
    except PoisonEvent as error:
        return Item(offset, key, None, error.reason, value)


def judged(block: Block) -> Block:
    """The block with every message poisoned that holds what must not be stored."""
    try:
        _refuse(block.table())
    except PoisonEvent:
        items = tuple(_judged_alone(block.topic, item) for item in block.items)
        return Block(block.topic, block.partition, items)
    return block


def _judged_alone(topic: str, item: Item) -> Item:
    if item.part is None:
        return item
    try:
        _refuse(_joined(topic, [item]))
    except PoisonEvent as error:
        return item.poisoned(error.reason)
    return item


def _refuse(rows: pa.Table) -> None:
    for batch in rows.to_batches():
        refuse_nulls(batch)
        refuse_values(batch)


def _joined(topic: str, items: Sequence[Item]) -> pa.Table:
    """Rows of the messages under the contract's own schema: metadata may differ from producer to producer.

    A table of as many pieces as there were messages would be written, and parsed by ClickHouse, piece by piece.
    """
    return TARGETS[topic].reader.read([item.part for item in items if item.part is not None]).combine_chunks()


@dataclass(frozen=True)
class Limits:
    """When a block ends: `rows` bounds what it takes, the two times how long it waits."""

    rows: int = 50_000
    linger_s: float = 0.5
    idle_s: float = 0.25


@dataclass
class _Open:
    started_s: float
    touched_s: float
    rows: int = 0
    items: list[Item] = field(default_factory=list)


class Blocks:
    """The open block of each partition. Times are monotonic seconds, given by the caller."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Place, _Open] = {}

    def add(self, place: Place, item: Item, since_s: float, now_s: float) -> Block | None:
        """Add the partition's next message, which came at `since_s` or later; the block, if this fills it.

        A message without rows takes the room of a row.
        """
        current = self._open.get(place)
        if current is None:
            current = self._open[place] = _Open(since_s, now_s)
        current.items.append(item)
        current.touched_s = now_s
        current.rows += max(1, item.part.num_rows) if item.part is not None else 1
        return self._cut(place) if current.rows >= self._limits.rows else None

    def is_due(self, now_s: float) -> bool:
        """Whether a block waited for `linger_s`, or heard nothing for `idle_s`."""
        return bool(self._due(now_s))

    def oldest_due(self, now_s: float) -> list[Block]:
        """Cut what is due of the topic whose block waited longest, longest first; nothing if none is."""
        due = sorted(self._due(now_s), key=lambda place: self._open[place].started_s)
        return [self._cut(place) for place in due if place[0] == due[0][0]]

    def _due(self, now_s: float) -> list[Place]:
        return [
            place
            for place, block in self._open.items()
            if now_s - block.started_s >= self._limits.linger_s or now_s - block.touched_s >= self._limits.idle_s
        ]

    def all(self) -> list[Block]:
        """Cut every block: the process ends."""
        return [self._cut(place) for place in list(self._open)]

    def drop(self, place: Place) -> None:
        """Forget a partition that belongs to somebody else now; nothing of it was committed."""
        self._open.pop(place, None)

    def _cut(self, place: Place) -> Block:
        return judged(Block(*place, tuple(self._open.pop(place).items)))
