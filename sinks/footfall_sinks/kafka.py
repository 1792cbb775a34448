"""Kafka as the sink uses it: a group consumer, and acknowledged dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from footfall_events import topics
from footfall_events.dead_letters import letter_headers, omitted_header
from footfall_events.errors import BrokerUnavailable
from footfall_events.producing import PRODUCER

from footfall_sinks.batch import TARGETS, Item, Place, open_item
from footfall_sinks.settings import SinkSettings

_MESSAGES_AT_ONCE = 100
"""More, of some kB each, would be out of the processor's cache again when they are opened."""
_DELIVERY_S = 30.0
UNPACKS_TO_TOO_MUCH = "unpacks_to_too_much"
"""Reason for a message that the client refuses to unpack: its `receive.message.max.bytes` allows 50 to 100 MB."""

Headers = list[tuple[str, str | bytes | None]]


class KafkaSource:
    """A member of the sink's group on every topic that has a table; reads committed messages only."""

    def __init__(self, settings: SinkSettings, on_lost: Callable[[Iterable[Place]], None]) -> None:
        self._on_lost = on_lost
        self._stepped_over: dict[Place, int] = {}
        self._is_paused = False
        self._consumer = Consumer(
            {
                **settings.kafka(),
                "group.id": settings.group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(settings.session_timeout_s * 1000),
                "max.poll.interval.ms": int(settings.longest_step_s * 1000),
                # What is fetched ahead is thrown away by a pause; a few MB keep one step busy.
                "queued.max.messages.kbytes": 16_384,
                # How long a partition is left alone once they are there. After the usual second the sink had nothing
                # to do for half of its time.
                "fetch.queue.backoff.ms": 20,
            }
        )
        self._consumer.subscribe(list(TARGETS), on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)

    def take(self, wait_s: float) -> Sequence[tuple[Place, Item]]:
        taken: list[tuple[Place, Item]] = []
        refused: dict[Place, Message] = {}
        for message in self._consumer.consume(_MESSAGES_AT_ONCE, wait_s):
            error = message.error()
            if error is None:
                taken.append(_read(message))
                self._stepped_over.pop(taken[-1][0], None)
            elif error.fatal():
                raise KafkaException(error)
            elif error.code() == KafkaError._BAD_COMPRESSION:
                # While nobody listened the client asked again and again, and each time left an error.
                refused[str(message.topic()), message.partition() or 0] = message
            # Anything less is a report: the client reconnects, or waits for the topic, by itself.
        return taken + [self._step_over(place, message.offset() or 0) for place, message in refused.items()]

    def pause(self) -> None:
        self._is_paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        self._is_paused = False
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

    def _step_over(self, place: Place, first: int) -> tuple[Place, Item]:
        """Go on behind one message that cannot be unpacked; its client would ask for it for ever.

        `first` begins a batch of the log, in which everything is as unreadable: one message a call is stepped over.
        """
        offset = max(first, self._stepped_over.get(place, first))
        self._stepped_over[place] = offset + 1
        self._consumer.seek(TopicPartition(*place, offset + 1))
        return place, Item(offset, None, None, UNPACKS_TO_TOO_MUCH)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """A partition that was paused when it was lost is still paused when it comes back, whatever happened since."""
        consumer.assign(partitions)
        if self._is_paused:
            consumer.pause(partitions)
        else:
            consumer.resume(partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(each.topic, each.partition) for each in partitions]
        for place in places:
            self._stepped_over.pop(place, None)
        self._on_lost(places)


class KafkaDeadLetters:
    """Sends the bytes as they came, and waits for the broker's word on each."""

    def __init__(self, settings: SinkSettings) -> None:
        self._producer = Producer(
            {
                **settings.kafka(),
                **PRODUCER,
                "delivery.timeout.ms": int(_DELIVERY_S * 1000),
                # A value as large as any topic takes must fit with its headers.
                "message.max.bytes": 9 * 1024 * 1024,
            }
        )

    def send(self, place: Place, item: Item, reason: str) -> None:
        """Raises BrokerUnavailable if the delivery is not confirmed in time.

        A value too large for the topic of dead letters stays where it is: `omitted_bytes` says how long it is.
        """
        headers: Headers = [*letter_headers(reason, *place, item.offset)]
        error = self._deliver(item.key, item.value, headers)
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            error = self._deliver(item.key, b"", [*headers, omitted_header(item.value)])
        if error is not None:
            raise BrokerUnavailable(error.name())

    def _deliver(self, key: bytes | None, value: bytes, headers: Headers) -> KafkaError | None:
        """What the broker, or the client itself, has against it."""
        outcomes: list[KafkaError | None] = []
        try:
            self._producer.produce(
                topics.DEAD_LETTERS.name,
                value=value,
                key=key,
                headers=headers,
                on_delivery=lambda error, _message: outcomes.append(error),
            )
        except KafkaException as error:
            refusal: KafkaError = error.args[0]
            return refusal
        except BufferError as error:
            raise BrokerUnavailable(_name(error)) from error
        self._producer.flush(_DELIVERY_S + 1)
        if not outcomes:
            raise BrokerUnavailable("no delivery report")
        return outcomes[0]


def check_topics(client_settings: Mapping[str, str]) -> None:
    """Return if there is a topic for every table, for which a consumer looks every five minutes only.

    Raises BrokerUnavailable, also while one is missing.
    """
    client = AdminClient(dict(client_settings))
    try:
        for future in client.describe_topics(TopicCollection(list(TARGETS)), request_timeout=10).values():
            future.result(15)
    except (KafkaException, TimeoutError) as error:
        raise BrokerUnavailable(_name(error)) from error


def _read(message: Message) -> tuple[Place, Item]:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a message without a place")
    return (topic, partition), open_item(topic, offset, _bytes(message.key()), _bytes(message.value()) or b"")


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _name(error: BaseException) -> str:
    inner = error.args[0] if error.args else None
    return inner.name() if isinstance(inner, KafkaError) else type(error).__name__
