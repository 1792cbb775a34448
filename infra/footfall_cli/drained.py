"""Whether the pipeline has taken everything that was sent: what replay and demo wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition
from footfall_events.dead_letters import REPLAYED
from footfall_events.errors import BrokerUnavailable
from footfall_events.topics import CHECKPOINTS, DEAD_LETTERS, SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams.state import OFFSET_KEY, Progress

from footfall_cli.deadletters import Record
from footfall_cli.log_reader import open_reader, read_log
from footfall_cli.topics import Kafka, client_of

SINK_GROUP = "footfall-sink"
_TIMEOUT_S = 10.0


def end_offsets(kafka: Kafka, topic: str) -> dict[int, int]:
    """End of every partition that holds anything; a broker that is just starting gets some seconds."""
    reader = open_reader(kafka)
    deadline = time.monotonic() + _TIMEOUT_S
    try:
        while True:
            try:
                numbers = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
                ends = {n: reader.get_watermark_offsets(TopicPartition(topic, n), _TIMEOUT_S)[1] for n in numbers}
                return {number: end for number, end in ends.items() if end}
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(str(error)) from error
                time.sleep(0.1)
    finally:
        reader.close()


def read_all(kafka: Kafka, topic: str, begin: Mapping[int, int] | None = None) -> list[Record]:
    """Every committed message that a topic holds now, or those from an offset of each partition on."""
    begin = begin or {}
    spans = {number: range(begin.get(number, 0), end) for number, end in end_offsets(kafka, topic).items()}
    return list(read_log(kafka, topic, spans))


def checkpointed(kafka: Kafka) -> dict[int, int]:
    """Next offset of each partition of `sightings.v1` that a checkpoint knows."""
    offsets = {}
    for message in read_all(kafka, CHECKPOINTS.name):
        if message.key == OFFSET_KEY and message.value:
            offsets[message.partition] = Progress.from_bytes(message.value).next_offset
    return offsets


def stream_lag(kafka: Kafka) -> int:
    """Messages of `sightings.v1` that no checkpoint has passed yet."""
    ends, done = end_offsets(kafka, SIGHTINGS.name), checkpointed(kafka)
    return sum(end - done.get(partition, 0) for partition, end in ends.items())


def sink_lag(kafka: Kafka) -> int:
    """Messages of the sink's topics whose offset its group has not committed past."""
    # Transaction markers are offsets without messages, so what is left is counted by reading it.
    topics = (VISITS.name, STORE_MINUTES.name, SENSOR_MINUTES.name)
    return sum(len(read_all(kafka, topic, committed_by(SINK_GROUP, kafka, topic))) for topic in topics)


def committed_by(group: str, kafka: Kafka, topic: str) -> dict[int, int]:
    """Next offset of each partition that a group has committed; empty if nobody can tell now.

    A consumer asks: an admin client crashes if the group's coordinator is just moving or loading (librdkafka's
    rd_kafka_handle_OffsetFetch takes it for a group member).
    """
    reader = Consumer({**client_of(kafka), "group.id": group, "enable.auto.commit": False})  # never joins
    try:
        places = [TopicPartition(topic, number) for number in end_offsets(kafka, topic)]
        return {place.partition: place.offset for place in reader.committed(places, _TIMEOUT_S) if place.offset >= 0}
    except KafkaException:
        return {}
    finally:
        reader.close()


def dead_letters(kafka: Kafka) -> int:
    """How many letters `deadletters.v1` holds; a note that one was sent back is none."""
    return sum(REPLAYED not in record.headers for record in read_all(kafka, DEAD_LETTERS.name))


def wait_until_zero(
    lag: Callable[[], int], check: Callable[[], None], wait_s: float, show: Callable[[int], None] = lambda left: None
) -> None:
    """Poll `lag` until it is zero, for as long as it falls within `wait_s`.

    `check` raises if something that should run has ended; `show` is told what is left.
    """
    least: int | None = None
    deadline = time.monotonic()
    while (left := lag()) > 0:
        check()
        show(left)
        if least is None or left < least:
            least, deadline = left, time.monotonic() + wait_s
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"after {wait_s:.0f} s without progress there are still {left} messages to take")
        time.sleep(0.2)
    show(0)
