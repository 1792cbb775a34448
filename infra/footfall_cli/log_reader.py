"""Reads logs as they stand: committed messages between two offsets, one at a time, without joining any group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its stubs
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.topics import SIGHTINGS

from footfall_cli.deadletters import Record
from footfall_cli.topics import Kafka, client_of

_TIMEOUT_S = 30.0


def open_reader(kafka: Kafka) -> Consumer:
    """A client for looking at committed messages; partitions are assigned by hand."""
    return Consumer(
        {
            **client_of(kafka),
            "group.id": "footfall-reader",  # never joins, never commits
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            # What lies before the start of the log is gone, and the rest is wanted.
            "auto.offset.reset": "earliest",
        }
    )


def spans_of(kafka: Kafka, topic: str) -> dict[int, range]:
    """The committed offsets of each partition; raises ConfigError if there is no such topic, BrokerUnavailable."""
    reader = open_reader(kafka)
    try:
        found = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if not found.partitions:
            raise ConfigError([f"topic {topic} does not exist: run `footfall topics apply`"])
        numbers = sorted(found.partitions)
        return {n: range(*reader.get_watermark_offsets(TopicPartition(topic, n), _TIMEOUT_S)) for n in numbers}
    except KafkaException as error:
        raise BrokerUnavailable(str(error)) from error
    finally:
        reader.close()


def read_log(
    kafka: Kafka, topic: str, spans: Mapping[int, range], show: Callable[[int], None] = lambda done: None
) -> Iterator[Record]:
    """Every committed message within the spans; ascending within a partition. `show` is told how many were read."""
    left = {number: span for number, span in spans.items() if span}
    reader = open_reader(kafka)
    done = 0
    try:
        reader.assign([TopicPartition(topic, number, span.start) for number, span in left.items()])
        while left:
            message = reader.poll(_TIMEOUT_S)
            if message is None:
                raise BrokerUnavailable(f"{topic} stopped before its end")
            error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise BrokerUnavailable(str(error))
            if error is None and offset in left.get(partition, ()):
                done += 1
                show(done)
                headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]  # bytes, all of ours
                key, value = message.key(), message.value()
                yield Record(partition, offset, key, value, headers, message.timestamp()[1])
            # Transaction markers are offsets without messages: behind the last message there may be the end only.
            if error is not None or offset + 1 >= left.get(partition, range(0)).stop:
                left.pop(partition, None)
    finally:
        reader.close()


def broker_clock_ms(kafka: Kafka) -> int:
    """A time that the broker's clock has reached: when it last appended a sighting; 0 if it never did."""
    newest: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    places = {TopicPartition(SIGHTINGS.name, number): newest for number in spans_of(kafka, SIGHTINGS.name)}
    # A client that nobody holds is gone, and its answers never come.
    admin = AdminClient(client_of(kafka))
    try:
        found = admin.list_offsets(places, request_timeout=_TIMEOUT_S)
        return max(0, *(int(future.result(_TIMEOUT_S + 1).timestamp) for future in found.values()))
    except (KafkaException, TimeoutError) as error:
        raise BrokerUnavailable(str(error)) from error
