"""Topics as data: what the rest relies on without asking Kafka."""

from __future__ import annotations

import re

import pytest
from footfall_events.topics import (
    CHECKPOINTS,
    DAY_MS,
    DEAD_LETTERS,
    DEFAULT_PARTITIONS,
    OPT_OUTS,
    SENSOR_MINUTES,
    SIGHTINGS,
    STORE_MINUTES,
    TOPICS,
    VISITS,
    Topic,
)


def test_names_are_unique_and_carry_their_version() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names) == 7
    assert all(re.fullmatch(r"[a-z_]+\.v[1-9]", name) for name in names)


def test_a_stores_state_lives_at_its_own_partition_number() -> None:
    assert SIGHTINGS.partitions == CHECKPOINTS.partitions == DEFAULT_PARTITIONS


def test_state_and_opt_outs_are_kept_by_key_and_nothing_else_is() -> None:
    assert {topic.name for topic in TOPICS if topic.config.get("cleanup.policy") == "compact"} == {
        CHECKPOINTS.name,
        OPT_OUTS.name,
    }
    assert not any("retention.ms" in topic.config for topic in (CHECKPOINTS, OPT_OUTS))


def test_only_sightings_take_the_brokers_clock_as_their_time() -> None:
    assert [topic for topic in TOPICS if "message.timestamp.type" in topic.config] == [SIGHTINGS]
    assert SIGHTINGS.config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(
    ("topic", "days"),
    [(SIGHTINGS, 7), (SENSOR_MINUTES, 7), (VISITS, 7), (STORE_MINUTES, 7), (DEAD_LETTERS, 30)],
    ids=lambda value: value.name if isinstance(value, Topic) else f"{value} days",
)
def test_how_long_a_topic_keeps_its_messages(topic: Topic, days: int) -> None:
    assert topic.config["retention.ms"] == str(days * DAY_MS)


def test_every_topic_says_what_it_is_for_and_configures_in_text() -> None:
    for topic in TOPICS:
        assert topic.purpose
        assert all(isinstance(value, str) for value in topic.config.values())
