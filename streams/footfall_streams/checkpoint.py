"""State that survives: one Kafka transaction a step, in the order that each fault demands.

1. Own      Open a transactional producer under the partition's fixed id. `init_transactions` fences every earlier
            owner and aborts what it left open. Defends against two workers writing, and against a zombie.
2. Restore  Read the partition of `checkpoints.v1`, read_committed, to its end: state and `next_offset`. After 1,
            or the old owner's open transaction could still commit behind our back. Refuse a log that is not the
            one the state belongs to: recreated or truncated topics.
3. Guard    Take exactly `next_offset`: below is done already, above is a message lost on the way or a hole of the
            log, told apart by asking the log itself. Defends against a client that skips or repeats.
4. Process  Fold the chunk, in memory only.
5. Commit   Outputs, changed state and `next_offset` in one transaction. Defends against a crash anywhere: either
            all of it is there or nothing. Then the group's offset, which is only a hint for lag tools.

A commit that fails or is fenced ends the process: its memory is ahead of what is written, and only a restore
brings them together. This module does 1, 2, 5 and the question of 3; agents.py calls them in this order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, TopicDescription  # type: ignore[attr-defined]  # not in its stubs
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.producing import PRODUCER
from footfall_events.topics import CHECKPOINTS, SIGHTINGS

from footfall_streams.fail_points import NONE_ARMED
from footfall_streams.state import OFFSET_KEY, Progress, State
from footfall_streams.step import Output

log = logging.getLogger(__name__)

_TIMEOUT_S = 30.0
# A broker that has just started may not know its topics yet.
_SETTLE_S = 5.0
_QUARANTINE = b"quarantine/"


@dataclass(frozen=True)
class LogFacts:
    """What the broker says of `sightings.v1`: its id and how many partitions it and its checkpoints have."""

    topic_id: str
    partitions: int


def describe_log(client: Mapping[str, str]) -> LogFacts:
    """Ask the broker; raises BrokerUnavailable, or ConfigError if a topic is missing or they differ in partitions."""
    admin = AdminClient(dict(client))
    deadline = time.monotonic() + _SETTLE_S
    names = (SIGHTINGS.name, CHECKPOINTS.name)
    while len(found := _topics(admin, names)) < len(names) and time.monotonic() < deadline:
        time.sleep(0.2)
    problems = [f"topic {name} does not exist: run `footfall topics apply`" for name in names if name not in found]
    counts = {len(topic.partitions) for topic in found.values()}
    if not problems and len(counts) != 1:
        problems.append(f"{' and '.join(names)} must have the same number of partitions")
    if problems:
        raise ConfigError(problems)
    return LogFacts(str(found[SIGHTINGS.name].topic_id), counts.pop())


def _topics(admin: AdminClient, names: Sequence[str]) -> dict[str, TopicDescription]:
    """The broker's description of those topics that it knows."""
    found = {}
    for name, future in admin.describe_topics(TopicCollection(list(names)), request_timeout=10).items():
        try:
            found[name] = future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise BrokerUnavailable(str(error)) from error
    return found


class PartitionLog:
    """One owned partition: its fenced producer and where it stands.

    Everything here blocks; callers use a thread per partition. `progress` is what the last commit wrote.
    """

    def __init__(
        self,
        client: Mapping[str, str],
        partition: int,
        facts: LogFacts,
        *,
        forget: bool = False,
        pass_by: Callable[[str], None] = NONE_ARMED,
    ) -> None:
        """Own and restore; with `forget`, stand at the log's start in the next log epoch, whatever the log is."""
        self.partition = partition
        self._client = dict(client)
        self._pass_by = pass_by
        self._producer = Producer(
            {
                **client,
                **PRODUCER,
                "transactional.id": f"footfall-sightings-{partition}",
                # A dead worker's open transaction holds up read_committed readers for at most this long.
                "transaction.timeout.ms": 15_000,
                "message.max.bytes": int(CHECKPOINTS.config["max.message.bytes"]),
                "linger.ms": 5,
            }
        )
        self._producer.init_transactions(_TIMEOUT_S)
        pass_by("owned")
        self.state = self._read_checkpoints()
        self.progress = self._progress(facts, forget)
        self._quarantined = {key for key in self.state if key.startswith(_QUARANTINE)}

    def _read_checkpoints(self) -> State:
        """Newest entry of every key, to the end of the partition."""
        consumer = self._consumer({"enable.partition.eof": True})
        state: State = {}
        try:
            partition = KafkaPartition(CHECKPOINTS.name, self.partition, OFFSET_BEGINNING)
            end = consumer.get_watermark_offsets(partition, _TIMEOUT_S)[1]
            consumer.assign([partition])
            position = 0
            while position < end:
                message = consumer.poll(_TIMEOUT_S)
                if message is None:
                    raise BrokerUnavailable(f"checkpoints of partition {self.partition} stopped at {position} of {end}")
                error, offset = message.error(), message.offset()
                if error is None:
                    state[message.key() or b""] = message.value()
                    position = (offset or 0) + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    # Transaction markers are offsets without messages: the end is where the reader stands.
                    position = offset or 0
                else:
                    raise BrokerUnavailable(str(error))
        finally:
            consumer.close()
        return {key: value for key, value in state.items() if value is not None}

    def _progress(self, facts: LogFacts, forget: bool) -> Progress:
        low, high = self._bounds()
        written = self.state.pop(OFFSET_KEY, None)
        if written is None:
            return Progress(low, 0, facts.topic_id)
        progress = Progress.from_bytes(written)
        if forget:
            return Progress(low, progress.log_epoch + 1, facts.topic_id)
        refuse_another_log(self.partition, progress, facts, high)
        return progress

    def refuse_another_log(self) -> None:
        """Raise ConfigError if the topic was recreated or truncated since it was owned: old offsets came again."""
        refuse_another_log(self.partition, self.progress, describe_log(self._client), self._bounds()[1])

    def _bounds(self) -> tuple[int, int]:
        consumer = self._consumer({})
        try:
            return consumer.get_watermark_offsets(KafkaPartition(SIGHTINGS.name, self.partition), _TIMEOUT_S)
        finally:
            consumer.close()

    def _consumer(self, extra: Mapping[str, object]) -> Consumer:
        config = {
            **self._client,
            "group.id": "footfall-streams-restore",  # never joins: partitions are assigned by hand
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **extra,
        }
        return Consumer(config)

    def next_in_log(self, offset: int) -> int:
        """Offset of the first message at or after `offset` that the log really holds."""
        consumer = self._consumer({"auto.offset.reset": "earliest"})
        try:
            consumer.assign([KafkaPartition(SIGHTINGS.name, self.partition, offset)])
            message = consumer.poll(_TIMEOUT_S)
            if message is None or message.error() is not None:
                raise BrokerUnavailable(f"{SIGHTINGS.name}[{self.partition}] did not answer at {offset}")
            return message.offset() or 0
        finally:
            consumer.close()

    def is_quarantined(self, offset: int) -> bool:
        """Whether an operator wants this message dead-lettered unread."""
        return _quarantine_key(offset) in self._quarantined

    def commit(self, outputs: Sequence[Output], state: State, next_offset: int) -> None:
        """Write one step atomically. Any exception means: end the process, nothing of it may be taken for done."""
        progress = Progress(next_offset, self.progress.log_epoch, self.progress.topic_id)
        passed = {key for key in self._quarantined if key < _quarantine_key(next_offset)}
        self._producer.begin_transaction()
        for output in outputs:
            self._produce(output.topic, output.key, output.value, output.headers)
        self._pass_by("produced")
        for key, value in {**state, **dict.fromkeys(passed)}.items():
            self._produce(CHECKPOINTS.name, key, value, (), self.partition)
        self._produce(CHECKPOINTS.name, OFFSET_KEY, progress.to_bytes(), (), self.partition)
        self._pass_by("written")
        self._producer.commit_transaction(_TIMEOUT_S)
        self._pass_by("committed")
        self.progress = progress
        self._quarantined -= passed

    def quarantine(self, offset: int) -> None:
        """Have a message that is not processed yet dead-lettered unread by whoever owns the partition next.

        Raises ConfigError for one that is done already or that the log does not hold.
        """
        high = self._bounds()[1]
        if not self.progress.next_offset <= offset < high:
            raise ConfigError(
                [
                    f"{SIGHTINGS.name}[{self.partition}] waits with offsets {self.progress.next_offset} to {high - 1}: "
                    f"{offset} is not among them"
                ]
            )
        self.commit([], {_quarantine_key(offset): b"1"}, self.progress.next_offset)

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...],
        partition: int = -1,
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition=partition, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.1)  # the queue is full: let deliveries make room


def refuse_another_log(partition: int, progress: Progress, facts: LogFacts, end: int) -> None:
    """Raise ConfigError if a partition's log, which ends at `end`, is not the one that its state belongs to."""
    if progress.topic_id != facts.topic_id or progress.next_offset > end:
        raise ConfigError(
            [
                f"{SIGHTINGS.name}[{partition}] is not the log its state belongs to (recreated or truncated): "
                "run `footfall topics reset-state` to forget the state and start a new log epoch"
            ]
        )


def _quarantine_key(offset: int) -> bytes:
    return _QUARANTINE + b"%020d" % offset


def is_marked(state: State, offset: int) -> bool:
    """Whether a partition's state, as it was read, has this message quarantined."""
    return _quarantine_key(offset) in state


def reset_state(client: Mapping[str, str], facts: LogFacts) -> int:
    """Forget the state of every partition; rows to come outrank all that were sent. How many held any.

    Workers are fenced and start again from the log's start. Raises BrokerUnavailable.
    """
    reset = 0
    for partition in range(facts.partitions):
        try:
            entry = PartitionLog(client, partition, facts, forget=True)
            if entry.progress.log_epoch:
                entry.commit([], dict.fromkeys(entry.state), entry.progress.next_offset)
                reset += 1
        except KafkaException as error:
            raise BrokerUnavailable(f"partition {partition}: {error}") from error
    return reset
