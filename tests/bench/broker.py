"""A Kafka of a benchmark's own: topics made anew for every contender, and filled before anybody starts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import planned
from footfall_events.producing import PRODUCER
from footfall_events.topics import CHECKPOINTS, DEAD_LETTERS, STORE_MINUTES, VISITS

PARTITIONS = 8
OUTPUTS = (CHECKPOINTS.name, VISITS.name, STORE_MINUTES.name, DEAD_LETTERS.name)
"""What the stream worker writes."""


@contextmanager
def broker() -> Iterator[tuple[str, Path]]:
    """Address of an empty Kafka, and a directory for the logs of whatever uses it."""
    with broker_process() as (kafka, directory):
        yield kafka.bootstrap, directory


@contextmanager
def broker_process() -> Iterator[tuple[EmbeddedKafka, Path]]:
    """The same, for whoever wants to know what it costs."""
    with tempfile.TemporaryDirectory(prefix="footfall-bench-", ignore_cleanup_errors=True) as temporary:
        kafka = EmbeddedKafka(Path(temporary))
        kafka.start()
        try:
            yield kafka, Path(temporary)
        finally:
            kafka.kill()


def renew(kafka: str, names: Sequence[str]) -> None:
    """Topics without any message: those of the contract as it has them, others plain."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    known = {topic.name: topic for topic in planned(PARTITIONS)}
    gone = [name for name in names if name in admin.list_topics(timeout=30).topics]
    for future in admin.delete_topics(gone, operation_timeout=30).values() if gone else ():
        future.result()
    new = [NewTopic(name, PARTITIONS, 1, config=known[name].config if name in known else {}) for name in names]
    deadline = time.monotonic() + 30
    while new:  # a topic just deleted may still be there for a moment
        left = []
        for name, future in admin.create_topics(new, operation_timeout=30).items():
            try:
                future.result()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                left.append(name)
        new = [topic for topic in new if topic.topic in left]


def fill(kafka: str, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> int:
    """Send keys and values as collectors do; how many, once all are confirmed."""
    lost: list[KafkaError] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            lost.append(error)

    producer = Producer(
        {"bootstrap.servers": kafka, **PRODUCER, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000}
    )
    count = 0
    for key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        count += 1
    assert producer.flush(120) == 0
    assert not lost, lost[0]
    return count
