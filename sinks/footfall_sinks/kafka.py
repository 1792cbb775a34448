"""Kafka as the sink uses it: a group consumer, acknowledged dead letters, and the topics' identities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient
from footfall_events import topics
from footfall_events.errors import BrokerUnavailable

from footfall_sinks.batch import TARGETS, Place
from footfall_sinks.consume import Message
from footfall_sinks.settings import SinkSettings

_MESSAGES_A_STEP = 500
_DELIVERY_S = 30.0


class KafkaSource:
    """A member of the sink's group on every topic that has a table; reads committed messages only."""

    def __init__(self, settings: SinkSettings, on_lost: Callable[[Iterable[Place]], None]) -> None:
        self._on_lost = on_lost
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap,
                "group.id": settings.group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(settings.session_timeout_s * 1000),
                # What is fetched ahead is thrown away by a pause; a few MB keep one step busy.
                "queued.max.messages.kbytes": 16_384,
            }
        )
        self._consumer.subscribe(list(TARGETS), on_revoke=self._lost, on_lost=self._lost)

    def take(self, wait_s: float) -> Sequence[Message]:
        messages = self._consumer.consume(_MESSAGES_A_STEP, wait_s)
        return [_message(message) for message in messages if not _is_trouble(message)]

    def pause(self) -> None:
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())

    def commit(self, offsets: Mapping[Place, int]) -> None:
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            results = self._consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            raise BrokerUnavailable(_name(error)) from error
        for result in results or ():
            if result.error is not None:
                raise BrokerUnavailable(result.error.name())

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._on_lost([(each.topic, each.partition) for each in partitions])


class KafkaDeadLetters:
    """Sends the bytes as they came, and waits for the broker's word on each."""

    def __init__(self, settings: SinkSettings) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "delivery.timeout.ms": int(_DELIVERY_S * 1000),
                # A value as large as any topic takes must fit with its headers.
                "message.max.bytes": 9 * 1024 * 1024,
            }
        )

    def send(self, message: Message, reason: str) -> None:
        """Raises BrokerUnavailable if the delivery is not confirmed in time."""
        outcomes: list[KafkaError | None] = []
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", reason.encode()),
            ("topic", message.topic.encode()),
            ("partition", str(message.partition).encode()),
            ("offset", str(message.offset).encode()),
        ]
        try:
            self._producer.produce(
                topics.DEAD_LETTERS.name,
                value=message.value,
                key=message.key,
                headers=headers,
                on_delivery=lambda error, _message: outcomes.append(error),
            )
        except (BufferError, KafkaException) as error:
            raise BrokerUnavailable(_name(error)) from error
        self._producer.flush(_DELIVERY_S + 1)
        if not outcomes or outcomes[0] is not None:
            raise BrokerUnavailable(outcomes[0].name() if outcomes and outcomes[0] else "no delivery report")


def topic_ids(bootstrap: str) -> dict[str, str]:
    """The identity of each topic that has a table; raises BrokerUnavailable, also while one is missing."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    try:
        futures = client.describe_topics(TopicCollection(list(TARGETS)), request_timeout=10)
        return {name: str(future.result(15).topic_id) for name, future in futures.items()}
    except (KafkaException, TimeoutError) as error:
        raise BrokerUnavailable(_name(error)) from error


def _is_trouble(message: KafkaMessage) -> bool:
    error = message.error()
    if error is not None and error.fatal():
        raise KafkaException(error)
    # Anything less is a report: the client reconnects, or waits for the topic, by itself.
    return error is not None


def _message(message: KafkaMessage) -> Message:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a message without a place")
    return Message(topic, partition, offset, _bytes(message.key()), _bytes(message.value()) or b"")


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _name(error: BaseException) -> str:
    inner = error.args[0] if error.args else None
    return inner.name() if isinstance(inner, KafkaError) else type(error).__name__
