"""`footfall topics`: creates the topics of the contract, and says where a broker's differ."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]
from footfall_events.errors import BrokerUnavailable
from footfall_events.topics import SIGHTINGS, TOPICS, Topic

_TIMEOUT_S = 30


def planned(partitions: int | None) -> list[Topic]:
    """The contract's topics, with another number of partitions if one is given."""
    return [topic if partitions is None else replace(topic, partitions=partitions) for topic in TOPICS]


def apply_topics(bootstrap: str, partitions: int | None = None, replication: int = 1) -> list[str]:
    """Create what is missing; one line for each topic created or found to differ. Changes none in place."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    topics = planned(partitions)
    new = [
        NewTopic(topic.name, topic.partitions, replication, config={**topic.config, "compression.type": "producer"})
        for topic in topics
    ]
    said, existing = [], []
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items():
        try:
            future.result()
            said.append(f"{name}: created")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerUnavailable(f"{name}: {error}") from error
            existing.append(name)
    return said + _differences(admin, [topic for topic in topics if topic.name in existing])


def _differences(admin: AdminClient, topics: list[Topic]) -> list[str]:
    if not topics:
        return []
    said = []
    found = admin.list_topics(timeout=_TIMEOUT_S).topics
    configs = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics])
    for resource, future in configs.items():
        topic = next(topic for topic in topics if topic.name == resource.name)
        count = len(found[topic.name].partitions)
        if count != topic.partitions:
            said.append(f"{topic.name}: has {count} partitions, {topic.partitions} wanted; never changed in place")
        entries = future.result()
        for key, wanted in topic.config.items():
            if entries[key].value != wanted:
                said.append(f"{topic.name}: {key} is {entries[key].value}, {wanted} wanted: use kafka-configs.sh")
    return said or ["all topics exist as wanted"]


def partitions_of_sightings(bootstrap: str) -> int:
    """How many partitions `sightings.v1` has on the broker."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    return len(admin.list_topics(SIGHTINGS.name, timeout=_TIMEOUT_S).topics[SIGHTINGS.name].partitions)
