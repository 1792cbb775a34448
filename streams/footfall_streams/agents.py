"""The agent over `sightings.v1`: thin I/O around one fold and one transaction a chunk."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, NoReturn

import faust
from confluent_kafka import KafkaException
from faust.types import TP
from footfall_events.errors import ConfigError, FootfallError
from footfall_events.topics import SIGHTINGS

from footfall_streams.checkpoint import LogFacts, PartitionLog, describe_log
from footfall_streams.events import Message
from footfall_streams.fetching import Fetched, chunks
from footfall_streams.fold import StoreJob
from footfall_streams.memory import give_back
from footfall_streams.metrics import StreamMetrics
from footfall_streams.step import Step

log = logging.getLogger(__name__)

_GIVE_BACK_EVERY_S = 2.0


def _end_process(what: str, error: BaseException | None = None) -> NoReturn:
    """Leave at once: Faust would ack and skip after an exception, so nothing here may unwind into it."""
    if isinstance(error, ConfigError):
        log.critical("%s: %s", what, error)
    else:
        log.critical("%s; the supervisor's restart resumes from the last checkpoint", what, exc_info=error)
    logging.shutdown()
    os._exit(2 if isinstance(error, ConfigError) else 1)


def _where_it_failed(chunk: Sequence[Fetched], error: BaseException) -> str:
    """The chunk's places and, unless something else is what failed, the command for a batch that fails every worker."""
    offsets: dict[int, list[int]] = {}
    for fetched in chunk:
        offsets.setdefault(fetched.partition, []).extend(record.offset for record in fetched.records)
    places = ", ".join(f"[{n}] offsets {min(found)} to {max(found)}" for n, found in sorted(offsets.items()))
    what = f"a step failed at {SIGHTINGS.name}{places}"
    if isinstance(error, KafkaException | FootfallError):
        return what
    return f"{what} (if it always fails there: `footfall deadletters quarantine` finds the batch and sets it aside)"


class SightingsAgent:
    """Owns the assigned partitions' logs and the job's state; `lock` keeps steps and rebalances apart."""

    def __init__(
        self,
        app: faust.App,
        job: StoreJob,
        client: Mapping[str, str],
        facts: LogFacts,
        metrics: StreamMetrics,
        pass_by: Callable[[str], None],
    ) -> None:
        self._app = app
        self._job = job
        self._client = client
        self._facts = facts
        self._metrics = metrics
        self._pass_by = pass_by
        self._logs: dict[int, PartitionLog] = {}
        self._next: dict[int, int] = {}
        self._lock = asyncio.Lock()
        self._committing: asyncio.Future[None] | None = None
        self._telling: asyncio.Future[None] | None = None
        self._giving_back: asyncio.Future[None] | None = None
        self._threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="partition")

    async def release(self, *_: object, **__: object) -> None:
        """Finish what is under way and begin nothing; Faust awaits this before the group hands out partitions anew.

        Without it the next owner fences this worker's open transactions, and that ends the process.
        """
        async with self._lock:
            await self._committed()
            self._logs = {}
            self._metrics.partitions.set(0)

    async def own(self, *_: object, **__: object) -> None:
        """Own and restore every assigned partition; Faust awaits this before it resumes fetching."""
        async with self._lock:
            try:
                partitions = sorted(
                    tp.partition for tp in self._app.consumer.assignment() if tp.topic == SIGHTINGS.name
                )
                await self._committed()
                self._job.release_all()
                self._logs = {}
                opened = await self._open_logs(partitions)
                for partition_log in opened:
                    self._job.restore(partition_log.partition, partition_log.progress.log_epoch, partition_log.state)
                    partition_log.state = {}
                    self._logs[partition_log.partition] = partition_log
                self._next = {number: entry.progress.next_offset for number, entry in self._logs.items()}
                self._pass_by("restored")
                # Faust seeks to the committed offset right after this: make that the one the state stands at.
                await self._commit_offsets(self._next)
                # But aiokafka takes an offset of 0 for none, and stays where the group was before (seek_to_committed).
                for number in (number for number, offset in self._next.items() if not offset):
                    await self._app.consumer.seek(TP(SIGHTINGS.name, number), 0)
                self._metrics.partitions.set(len(self._logs))
                self._metrics.presences.set(len(self._job.presences))
            except Exception as error:
                _end_process("could not take over the assigned partitions", error)

    async def _open_logs(self, partitions: Sequence[int]) -> list[PartitionLog]:
        if not partitions:
            return []
        # The topic may have been made anew since the last time, with the same name and fewer messages.
        facts = await self._in_thread(describe_log, self._client)
        if facts.partitions != self._facts.partitions:
            raise ConfigError([f"{SIGHTINGS.name} had {self._facts.partitions} partitions and has {facts.partitions}"])
        open_log = partial(PartitionLog, self._client, facts=facts, pass_by=self._pass_by)
        return list(await asyncio.gather(*(self._in_thread(open_log, number) for number in partitions)))

    async def run(self, stream: Any, chunk_messages: int, within_s: float) -> None:
        """For as long as Faust runs, three chunks at a time: one gathered, one folded, one waiting for the broker."""
        step = asyncio.ensure_future(asyncio.sleep(0))
        try:
            async with aclosing(chunks(stream, chunk_messages, within_s)) as gathered:
                async for chunk in gathered:
                    await step
                    step = asyncio.ensure_future(self._take(chunk))
        finally:
            await step
            await self._committed()

    async def _take(self, chunk: Sequence[Fetched]) -> None:
        async with self._lock:
            try:
                await self._step(chunk)
            except Exception as error:
                _end_process(_where_it_failed(chunk, error), error)

    async def _step(self, chunk: Sequence[Fetched]) -> None:
        messages, ends = await self._guard([fetched for fetched in chunk if self._is_current(fetched)])
        self._pass_by("guarded")
        # Most of a fold is numpy's, which lets go of the interpreter: Faust gathers and heartbeats meanwhile.
        step = await self._in_thread(self._job.take, messages)
        self._pass_by("folded")
        self._next |= ends
        # What is told is what is committed: the next fold changes both while this step's transactions are under way.
        tell = partial(self._metrics.tell, step.counts, len(self._job.presences), self._job.watermarks())
        started = time.monotonic()
        await self._committed()
        self._metrics.commit_wait_seconds.inc(time.monotonic() - started)
        self._committing = asyncio.ensure_future(self._commit(chunk, step, ends, tell))

    async def _committed(self) -> None:
        """Until the step before is written, so that steps are written in their order."""
        if self._committing is not None:
            await self._committing

    async def _commit(
        self, chunk: Sequence[Fetched], step: Step, ends: Mapping[int, int], tell: Callable[[], None]
    ) -> None:
        """Write a folded step, each partition in a transaction of its own; then tell Prometheus and the group."""
        try:
            started = time.monotonic()
            await asyncio.gather(
                *(
                    self._in_thread(
                        self._logs[number].commit, step.outputs.get(number, []), step.state.get(number, {}), end
                    )
                    for number, end in ends.items()
                )
            )
            self._metrics.commit_seconds.observe(time.monotonic() - started)
        except Exception as error:
            _end_process(_where_it_failed(chunk, error), error)
        tell()
        # Nobody waits for this: the group's offset is what lag tools read, and may be that of a step before.
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_group())
        if self._giving_back is None or self._giving_back.done():
            self._giving_back = asyncio.ensure_future(self._give_back())
        self._pass_by("acknowledged")

    async def _tell_group(self) -> None:
        """Commit where every owned partition stands."""
        await self._commit_offsets({number: entry.progress.next_offset for number, entry in self._logs.items()})

    async def _give_back(self) -> None:
        """Once for all steps of a while, and always after the last of them."""
        await asyncio.sleep(_GIVE_BACK_EVERY_S)
        await self._in_thread(give_back)

    async def _commit_offsets(self, offsets: Mapping[int, int]) -> None:
        if offsets:
            await self._app.consumer._commit(  # type: ignore[attr-defined]
                {TP(SIGHTINGS.name, number): offset for number, offset in offsets.items()}
            )

    def _is_current(self, fetched: Fetched) -> bool:
        fresh = fetched.generation == self._app.consumer_generation_id and fetched.partition in self._logs
        if not fresh:
            self._metrics.stale_messages.labels("stale_generation").inc(len(fetched.records))
        return fresh

    async def _guard(self, chunk: Sequence[Fetched]) -> tuple[list[Message], dict[int, int]]:
        """Messages to fold, in order, and the next offset of each partition after them."""
        ends: dict[int, int] = {}
        messages = []
        for fetched in chunk:
            number = fetched.partition
            partition_log = self._logs[number]
            expected = ends.get(number, self._next[number])
            repeated = 0
            for record in fetched.records:
                if record.offset < expected:
                    repeated += 1
                    continue
                if record.offset > expected:
                    in_log = await self._in_thread(partition_log.next_in_log, expected)
                    if in_log != record.offset:
                        _end_process(f"partition {number}: offset {expected} was skipped on its way here")
                    log.error("partition %d: the log has no offsets %d to %d", number, expected, in_log - 1)
                    self._metrics.log_holes.inc(in_log - expected)
                expected = record.offset + 1
                quarantined = partition_log.is_quarantined(record.offset)
                value = record.value or b""
                messages.append(
                    Message(number, record.offset, record.key, value, record.timestamp, quarantined=quarantined)
                )
            ends[number] = expected
            if repeated:
                self._metrics.stale_messages.labels("already_done").inc(repeated)
                await self._in_thread(partition_log.refuse_another_log)
        return messages, ends

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
