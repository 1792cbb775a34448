"""`footfall topics`: creates the topics of the contract, and says where a broker's differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.topics import SIGHTINGS, TOPICS, Topic

_TIMEOUT_S = 30

Kafka = str | Mapping[str, str]
"""Where Kafka is: its address is enough for a plain one, else the whole client configuration."""


def client_of(kafka: Kafka) -> dict[str, str | int | float | bool]:
    """The configuration of a confluent-kafka client that keeps its log lines to itself."""
    return {**({"bootstrap.servers": kafka} if isinstance(kafka, str) else kafka), "log_level": 0}


def in_sync(replication: int) -> int:
    """Copies that must have a message before it is confirmed: all but one, so that any one broker may be lost."""
    return max(1, replication - 1)


def planned(partitions: int | None, replication: int = 1) -> list[Topic]:
    """The contract's topics as they are to be made, with another number of partitions if one is given."""
    # Left at Kafka's default of 1, a message counts as written when a single copy of it exists.
    more = {"compression.type": "producer", "min.insync.replicas": str(in_sync(replication))}
    return [
        replace(topic, partitions=partitions or topic.partitions, config={**topic.config, **more}) for topic in TOPICS
    ]


def apply_topics(kafka: Kafka, partitions: int | None = None, replication: int = 1) -> list[str]:
    """Create what is missing; one line for each topic created or found to differ. Changes none in place."""
    admin = AdminClient(client_of(kafka))
    topics = planned(partitions, replication)
    new = [NewTopic(topic.name, topic.partitions, replication, config=topic.config) for topic in topics]
    said, existing = [], []
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items():
        try:
            future.result()
            said.append(f"{name}: created")
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise ConfigError([f"{replication} copies of each partition need as many brokers"]) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerUnavailable(f"{name}: {error}") from error
            existing.append(name)
    return said + _differences(admin, [topic for topic in topics if topic.name in existing], replication)


def _differences(admin: AdminClient, topics: list[Topic], replication: int) -> list[str]:
    if not topics:
        return []
    said = []
    found = admin.list_topics(timeout=_TIMEOUT_S).topics
    configs = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics])
    for resource, future in configs.items():
        topic = next(topic for topic in topics if topic.name == resource.name)
        partitions = found[topic.name].partitions
        if len(partitions) != topic.partitions:
            said.append(
                f"{topic.name}: has {len(partitions)} partitions, {topic.partitions} wanted; never changed in place"
            )
        copies = min((len(partition.replicas) for partition in partitions.values()), default=0)
        if copies != replication:
            said.append(f"{topic.name}: has {copies} copies, {replication} wanted: use kafka-reassign-partitions.sh")
        entries = future.result()
        for key, wanted in topic.config.items():
            if entries[key].value != wanted:
                said.append(f"{topic.name}: {key} is {entries[key].value}, {wanted} wanted: use kafka-configs.sh")
    return said or ["all topics exist as wanted"]


def partitions_of_sightings(kafka: Kafka) -> int:
    """How many partitions `sightings.v1` has on the broker."""
    admin = AdminClient(client_of(kafka))
    return len(admin.list_topics(SIGHTINGS.name, timeout=_TIMEOUT_S).topics[SIGHTINGS.name].partitions)


def missing_copies(kafka: Kafka) -> list[str]:
    """A line for each topic, Kafka's own included, of which a copy is behind or away."""
    try:
        topics = AdminClient(client_of(kafka)).list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise BrokerUnavailable(str(error)) from error
    lines = []
    for name, topic in sorted(topics.items()):
        short = [each for each in topic.partitions.values() if len(each.isrs) < len(each.replicas)]
        if short:
            lines.append(f"{name}: copies are missing in {len(short)} of {len(topic.partitions)} partitions")
    return lines
