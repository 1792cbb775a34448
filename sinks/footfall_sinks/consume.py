"""The sink's loop: take messages, insert their rows, and only then commit.

One step:
1. take what the log has, and cut the blocks that are full or due;
2. dead-letter the poisoned messages of the first ones, of one topic, and wait for the delivery;
3. insert their rows at once, and meanwhile take what comes, until another block waits;
4. commit the offsets of everything inserted, once.
If the store or the broker does not answer, the partitions are paused, polling goes on so that the group keeps us,
and the blocks are tried again: what is inserted twice is one row to whoever asks. One step writes for a limited time,
so that a slow store costs no membership either; what is left over waits in front of everything new.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice
from typing import Protocol

import pyarrow as pa
from footfall_events.errors import PoisonEvent, Retryable, StoreUnavailable

from footfall_sinks.batch import TARGETS, Block, Blocks, Item, Limits, Place, joined
from footfall_sinks.metrics import SinkMetrics

log = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
_LONGEST_WRITE_S = 10.0
_AHEAD_S = 0.01
"""How long the end of an insert may go unnoticed."""


class Source(Protocol):
    """The log as the sink sees it; `take` reports rebalances through the callback given at its creation."""

    def take(self, wait_s: float) -> Sequence[tuple[Place, Item]]:
        """The messages that arrive within `wait_s`, in order of offsets within a partition."""

    def pause(self) -> None:
        """Deliver nothing until `resume`; partitions assigned meanwhile may deliver until the next call."""

    def resume(self) -> None:
        """Deliver again."""

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """The next offset to read of each partition; raises BrokerUnavailable."""


class Store(Protocol):
    """Where rows go; raises StoreUnavailable or PoisonEvent."""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Returning means that the rows are stored."""


class DeadLetters(Protocol):
    """Where poisoned messages go; raises BrokerUnavailable."""

    def send(self, place: Place, item: Item, reason: str) -> None:
        """Returning means that the broker has it."""


class _Enough(Exception):
    """The step has written for long enough."""


class Sink:
    """Nothing is committed before it is inserted. `inserts` runs one at a time; `clock` gives monotonic seconds."""

    def __init__(
        self,
        source: Source,
        store: Store,
        dead_letters: DeadLetters,
        metrics: SinkMetrics,
        *,
        limits: Limits,
        inserts: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._store = store
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._inserts = inserts
        self._clock = clock
        self._blocks = Blocks(limits)
        self._rows_at_once = limits.rows
        self._waiting: deque[Block] = deque()
        self._inserted: dict[Place, int] = {}
        self._buried: set[tuple[Place, int]] = set()
        self._retry_at_s: float | None = None
        self._wait_s = _FIRST_WAIT_S
        self._write_until_s = 0.0
        self._taken_s = clock()

    def step(self, wait_s: float) -> None:
        """Take messages for at most `wait_s`, then write what is due.

        Time cuts the blocks of one topic: the others still take in what comes while they are written.
        """
        if self._retry_at_s is not None:
            # A rebalance during the outage assigns partitions that are not paused yet.
            self._source.pause()
        elif self._waiting or self._blocks.is_due(self._clock()):
            wait_s = 0.0
        self._take(wait_s)
        if not self._waiting:
            self._waiting.extend(self._blocks.oldest_due(self._clock()))
        if self._retry_at_s is None or self._clock() >= self._retry_at_s:
            self._write()

    def finish(self) -> None:
        """Write what was taken, once; what fails is left to whoever reads the partition next.

        While something is away nothing is tried: a store that hangs would outlast the patience of whoever ends us.
        """
        if self._retry_at_s is not None:
            return
        self._waiting.extend(self._blocks.all())
        self._write()

    def lose(self, places: Iterable[Place]) -> None:
        """The partitions belong to another sink, which starts at the last commit."""
        gone = set(places)
        for place in gone:
            self._blocks.drop(place)
            self._inserted.pop(place, None)
        kept = deque(block for block in self._waiting if block.place not in gone)
        self._metrics.dropped_blocks.inc(len(self._waiting) - len(kept))
        self._waiting = kept
        self._buried = {grave for grave in self._buried if grave[0] not in gone}

    def _take(self, wait_s: float) -> None:
        taken, since_s, self._taken_s = self._source.take(wait_s), self._taken_s, self._clock()
        for place, item in taken:
            block = self._blocks.add(place, item, since_s, self._taken_s)
            if block is not None:
                self._waiting.append(block)

    def _write(self) -> None:
        """Write and commit what waits; a block cut meanwhile is the next step's, unless it fits into an insert."""
        self._write_until_s = self._clock() + _LONGEST_WRITE_S
        try:
            try:
                self._write_in_turn(tuple(self._waiting))
            finally:
                self._commit()
        except Retryable as error:
            self._put_off(error)
        except _Enough:
            self._hold()
        else:
            self._go_on()

    def _write_in_turn(self, blocks: Iterable[Block]) -> None:
        """Write the first ones of those that wait, but for those whose partition is lost meanwhile."""
        for block in blocks:
            if self._waiting and self._waiting[0] is block:
                self._write_first()

    def _write_first(self) -> None:
        """Bury and insert the first blocks that wait; or, if the store refuses them, take them apart."""
        together = self._first()
        for block in together:
            self._bury(block)
        refused = self._insert(together)
        # What was lost meanwhile is the next owner's.
        ours = [block for block in together if any(block is one for one in self._waiting)]
        if refused and (apart := _apart(ours, among_others=len(together) > 1)):
            for _ in ours:
                self._waiting.popleft()
            self._waiting.extendleft(reversed(apart))
            self._write_in_turn(apart)
            return
        for block in ours:
            if refused:
                self._dead_letter(block, block.items[0], refused)
            self._inserted[block.place] = block.next_offset
            self._waiting.popleft()
        self._breathe()

    def _first(self) -> list[Block]:
        """The first block that waits, and those of the same topic behind it that fit into the same insert."""
        first = self._waiting[0]
        blocks, rows = [first], first.rows
        for block in islice(self._waiting, 1, None):
            rows += block.rows
            if first.is_apart or block.is_apart or block.topic != first.topic or rows > self._rows_at_once:
                break
            blocks.append(block)
        return blocks

    def _breathe(self) -> None:
        if self._waiting and self._clock() >= self._write_until_s:
            raise _Enough

    def _commit(self) -> None:
        if self._inserted:
            self._source.commit(self._inserted)
            done, self._inserted = self._inserted, {}
            self._buried = {(place, at) for place, at in self._buried if at >= done.get(place, 0)}

    def _bury(self, block: Block) -> None:
        for item in block.items:
            if item.part is None:
                self._dead_letter(block, item, item.poison)
                self._breathe()

    def _dead_letter(self, block: Block, item: Item, reason: str) -> None:
        grave = (block.place, item.offset)
        if grave in self._buried:  # a retry of the block
            return
        self._dead_letters.send(block.place, item, reason)
        self._buried.add(grave)
        self._metrics.dead_letters.labels(reason).inc()
        log.warning("dead letter: %s at %s/%d/%d", reason, block.topic, block.partition, item.offset)

    def _insert(self, blocks: Sequence[Block]) -> str:
        """Insert the blocks' rows, and read ahead until another block waits; why the store refuses them, if it does."""
        rows = sum(block.rows for block in blocks)
        if not rows:
            return ""
        table = TARGETS[blocks[0].topic].table
        insert = self._inserts.submit(self._timed_insert, table, joined(blocks))
        while self._retry_at_s is None and len(self._waiting) <= len(blocks) and not insert.done():
            self._take(_AHEAD_S)
        try:
            seconds = insert.result()
        except PoisonEvent as error:
            return error.reason
        self._metrics.insert_seconds.observe(seconds)
        self._metrics.inserts.labels(table).inc()
        self._metrics.rows.labels(table).inc(rows)
        return ""

    def _timed_insert(self, table: str, rows: pa.Table) -> float:
        started_s = self._clock()
        self._store.insert(table, rows)
        return self._clock() - started_s

    def _put_off(self, error: Retryable) -> None:
        reason = "store" if isinstance(error, StoreUnavailable) else "broker"
        self._metrics.retries.labels(reason).inc()
        log.warning("%s does not answer (%s); trying again in %g s", reason, error, self._wait_s)
        self._source.pause()
        self._metrics.paused.set(1)
        self._retry_at_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _hold(self) -> None:
        """Take nothing new before the rest is written, but poll."""
        self._is_back()
        self._source.pause()
        self._retry_at_s = self._clock()

    def _go_on(self) -> None:
        if self._retry_at_s is not None:
            self._is_back()
            self._source.resume()
            self._retry_at_s = None

    def _is_back(self) -> None:
        self._metrics.paused.set(0)
        self._wait_s = _FIRST_WAIT_S


def _apart(blocks: Sequence[Block], *, among_others: bool) -> list[Block]:
    """What is tried in place of blocks that the store refuses: only a message refused by itself is poisoned."""
    if among_others:
        return [block.apart() for block in blocks]
    return [block.alone(item) for block in blocks if len(block.items) > 1 for item in block.items]
