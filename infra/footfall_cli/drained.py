"""Whether the pipeline has taken everything that was sent: what replay and demo wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from footfall_events.errors import BrokerUnavailable
from footfall_events.topics import CHECKPOINTS, DEAD_LETTERS, SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS

SINK_GROUP = "footfall-sink"
_TIMEOUT_S = 10.0


def _reader(bootstrap: str, *, eof: bool = False) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "footfall-observer",  # never joins, never commits
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": eof,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """End of every partition that holds anything."""
    reader = _reader(bootstrap)
    try:
        numbers = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        ends = {n: reader.get_watermark_offsets(TopicPartition(topic, n), _TIMEOUT_S)[1] for n in numbers}
        return {number: end for number, end in ends.items() if end}
    finally:
        reader.close()


def read_all(bootstrap: str, topic: str) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Every committed message of a topic: (partition, offset, key, value)."""
    ends = end_offsets(bootstrap, topic)
    reader = _reader(bootstrap, eof=True)
    found = []
    try:
        reader.assign([TopicPartition(topic, number, 0) for number in ends])
        while ends:
            message = reader.poll(_TIMEOUT_S)
            if message is None:
                raise BrokerUnavailable(f"{topic} stopped before its end")
            error = message.error()
            if error is None:
                found.append((message.partition() or 0, message.offset() or 0, message.key(), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.pop(message.partition() or 0, None)
            else:
                raise BrokerUnavailable(str(error))
    finally:
        reader.close()
    return found


def stream_lag(bootstrap: str) -> int:
    """Messages of `sightings.v1` that no checkpoint has passed yet."""
    ends = end_offsets(bootstrap, SIGHTINGS.name)
    done = dict.fromkeys(ends, 0)
    for partition, _, key, value in read_all(bootstrap, CHECKPOINTS.name):
        if key == b"offset" and value and partition in done:
            done[partition] = json.loads(value)["next_offset"]
    return sum(end - done[partition] for partition, end in ends.items())


def sink_lag(bootstrap: str) -> int:
    """Messages of the sink's topics whose offset its group has not committed past."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP)])[SINK_GROUP]
    try:
        listed = future.result().topic_partitions
    except KafkaException:
        listed = []
    committed = {(entry.topic, entry.partition): entry.offset for entry in listed}
    lag = 0
    for topic in (VISITS.name, STORE_MINUTES.name, SENSOR_MINUTES.name):
        for partition, offset, _, _ in read_all(bootstrap, topic):
            lag += offset >= committed.get((topic, partition), 0)
    return lag


def dead_letters(bootstrap: str) -> int:
    """How many messages `deadletters.v1` holds."""
    return len(read_all(bootstrap, DEAD_LETTERS.name))


def wait_until_zero(lag: Callable[[], int], check: Callable[[], None], wait_s: float) -> None:
    """Poll `lag` until it is zero; `check` raises if something that should run has ended."""
    deadline = time.monotonic() + wait_s
    while (left := lag()) > 0:
        check()
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"after {wait_s:.0f} s there are still {left} messages to take")
        time.sleep(0.2)
