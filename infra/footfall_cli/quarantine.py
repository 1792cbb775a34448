"""Finds the batch that stops every worker: folds what waits, message by message, in a child that may die of it.

Nothing is owned and nobody fenced: state and messages are only read. Any chunking gives the same tables, so messages
taken one by one meet the same code with the same state as a worker's chunks do.
"""

from __future__ import annotations

import multiprocessing
import re
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from footfall_events.errors import ConfigError, FootfallError, Retryable
from footfall_events.stores import load_chain
from footfall_events.topics import CHECKPOINTS, SIGHTINGS
from footfall_streams.checkpoint import LogFacts, is_marked, refuse_another_log
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.partitioning import partition_of
from footfall_streams.state import OFFSET_KEY, Progress, State

from footfall_cli.deadletters import Record, batch_facts
from footfall_cli.log_reader import read_log, spans_of

_PATIENCE_S = 120.0
_NUMBER = re.compile(r"\d{11,}|\b(0x)?[0-9a-f]{12,}\b", re.IGNORECASE)


@dataclass(frozen=True)
class Waiting:
    """A partition as a worker would find it: its state, and the offsets that it has still to take."""

    partition: int
    partitions: int
    state: State
    log_epoch: int
    offsets: range


def waiting(kafka: Mapping[str, str], facts: LogFacts, only: int | None = None) -> Iterator[Waiting]:
    """What waits in every partition, or in one.

    Raises ConfigError if there is no such partition, or if it is not the log that its state belongs to.
    """
    logs, checkpoints = spans_of(kafka, SIGHTINGS.name), spans_of(kafka, CHECKPOINTS.name)
    if only is not None and only not in logs:
        raise ConfigError([f"--partition is {only}: {SIGHTINGS.name} has partitions 0 to {max(logs)}"])
    for partition in logs if only is None else [only]:
        yield _waiting(kafka, facts, partition, logs[partition], checkpoints[partition])


def _waiting(kafka: Mapping[str, str], facts: LogFacts, partition: int, log: range, checkpoints: range) -> Waiting:
    state: State = {r.key or b"": r.value for r in read_log(kafka, CHECKPOINTS.name, {partition: checkpoints})}
    written = state.pop(OFFSET_KEY, None)
    progress = Progress.from_bytes(written) if written else Progress(log.start, 0, facts.topic_id)
    refuse_another_log(partition, progress, facts, log.stop)
    left: State = {key: value for key, value in state.items() if value is not None}
    offsets = range(max(progress.next_offset, log.start), log.stop)
    return Waiting(partition, facts.partitions, left, progress.log_epoch, offsets)


@dataclass(frozen=True)
class Culprit:
    """The first message that cannot be folded, what it says of itself, and what happens."""

    partition: int
    offset: int
    about: dict[str, Any]
    happens: str


def find_culprit(
    kafka: Mapping[str, str], config: Path, found: Waiting, show: Callable[[int, int], None]
) -> Culprit | None:
    """The first waiting message at which the fold raises, dies or does not end; None if there is none.

    Raises ConfigError and FootfallError for what the child met on its way to the messages.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    child = spawning.Process(target=_fold, args=(theirs, kafka, config, found), daemon=True)
    child.start()
    theirs.close()
    try:
        offset, happens = _listen(ours, child, found, show)
    finally:
        child.kill()
        child.join()
        ours.close()
    if offset is None:
        return None
    (record,) = read_log(kafka, SIGHTINGS.name, {found.partition: range(offset, offset + 1)})
    return Culprit(found.partition, offset, batch_facts(SIGHTINGS.name, record.value or b""), happens)


def _listen(
    ours: Connection, child: BaseProcess, found: Waiting, show: Callable[[int, int], None]
) -> tuple[int | None, str]:
    """The offset at which the child stops and what happens there; None if it comes to the end."""
    at: int | None = None
    while True:
        if not ours.poll(_PATIENCE_S):
            happens = f"it is not done after {_PATIENCE_S:.0f} s"
            break
        try:
            what, said = ours.recv()
        except EOFError:
            child.join()
            happens = _death(child.exitcode or 0)
            break
        if what == "at":
            at = int(said)
            show(at - found.offsets.start, len(found.offsets))
        elif what == "done":
            return None, ""
        elif what == "config":
            raise ConfigError(said)
        elif what == "failed":
            raise FootfallError(said)
        else:
            happens = said
            break
    if at is None:
        raise FootfallError(
            f"{SIGHTINGS.name}[{found.partition}]: restoring its state fails before any message: {happens}"
        )
    return at, happens


def _death(exit_code: int) -> str:
    if exit_code >= 0:
        return f"the process ends with exit code {exit_code}"
    return f"the process dies of {signal.Signals(-exit_code).name}"


def _fold(pipe: Connection, kafka: Mapping[str, str], config: Path, found: Waiting) -> None:
    """The child: says where it is before each message, and how it ends."""
    # Ctrl-C goes to both of us; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = StoreJob(load_chain(config), lambda key: partition_of(key, found.partitions))
        job.restore(found.partition, found.log_epoch, found.state)
        for record in read_log(kafka, SIGHTINGS.name, {found.partition: found.offsets}):
            pipe.send(("at", record.offset))
            try:
                job.take([_message(record, found)])
            except Exception as error:
                pipe.send(("raised", described(error)))
                return
        pipe.send(("done", None))
    except ConfigError as error:
        pipe.send(("config", error.problems))
    except Retryable as error:
        pipe.send(("failed", str(error)))
    except Exception as error:
        pipe.send(("raised", described(error)))


def _message(record: Record, found: Waiting) -> Message:
    quarantined = is_marked(found.state, record.offset)
    return Message(
        record.partition, record.offset, record.key, record.value or b"", record.at_ms, quarantined=quarantined
    )


def described(error: BaseException) -> str:
    """Kind, text and place of an error; long numbers are left out, as they could be pseudonyms."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno}, {frames[-1].name})" if frames else ""
    text = _NUMBER.sub("…", str(error))[:200]
    return f"{type(error).__name__}: {text}{place}"
