"""The stream worker on real Apache Kafka: the tables of the pure fold, whatever is killed on the way."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from confluent_kafka.admin import AdminClient
from footfall_cli.drained import read_all, stream_lag, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import main
from footfall_cli.topics import apply_topics
from footfall_events.topics import DEAD_LETTERS, SIGHTINGS

from tests.broker.workers import Worker, send, tables_in, worker_on
from tests.property.worlds import messages, run, world

pytestmark = pytest.mark.broker


def test_the_topics_hold_the_tables_of_the_pure_fold(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    log = messages(world(Random(5)))
    send(kafka.bootstrap, [*(message.value for message in log), b"not a batch"])
    with worker_on(tmp_path, kafka.bootstrap) as worker:
        wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 60)
    found = tables_in(kafka.bootstrap)
    assert found.visits() == run(log).visits()
    assert found.minutes() == run(log).minutes()
    (letter,) = read_all(kafka.bootstrap, DEAD_LETTERS.name)
    assert letter.value == b"not a batch"
    assert letter.headers == {
        "reason": b"not_arrow",
        "topic": b"sightings.v1",
        "partition": str(letter.partition).encode(),
        "offset": str(len(log)).encode(),
    }


def test_a_killed_worker_and_a_killed_broker_change_nothing(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    log = messages(world(Random(6), hours=4, sightings=200))
    third = len(log) // 3
    with worker_on(tmp_path, kafka.bootstrap) as worker:
        send(kafka.bootstrap, [message.value for message in log[:third]])
        wait_until_zero(lambda: max(0, stream_lag(kafka.bootstrap) - third // 2), worker.keep_alive, 60)
        worker.child.kill()
        worker.keep_alive()
        send(kafka.bootstrap, [message.value for message in log[third : 2 * third]])
        kafka.kill()
        kafka.start()
        send(kafka.bootstrap, [message.value for message in log[2 * third :]])
        wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 90)
    found = tables_in(kafka.bootstrap)
    assert found.visits() == run(log).visits()
    assert found.minutes() == run(log).minutes()


def test_a_worker_without_topics_names_the_command_that_makes_them(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    worker = Worker(tmp_path, kafka.bootstrap)
    assert worker.child.process is not None
    assert worker.child.process.wait(60) == 2
    assert "footfall topics apply" in worker.child.tail()


def test_a_topic_made_anew_is_refused_until_its_state_is_reset(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    old, new = messages(world(Random(7))), messages(world(Random(8)))
    send(kafka.bootstrap, [message.value for message in old])
    with worker_on(tmp_path, kafka.bootstrap) as worker:
        wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 60)
    recreate(kafka.bootstrap)
    send(kafka.bootstrap, [message.value for message in new])
    refused = Worker(tmp_path, kafka.bootstrap)
    assert refused.child.process is not None
    assert refused.child.process.wait(60) == 2
    assert "footfall topics reset-state" in refused.child.tail()
    assert main(["topics", "reset-state", "--bootstrap", kafka.bootstrap]) == 0
    with worker_on(tmp_path, kafka.bootstrap) as worker:
        wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 60)
    rows = {row["visit_id"]: row for row in tables_in(kafka.bootstrap).visits()}
    for wanted in run(new).visits():
        # The second log epoch's rows outrank every row of the first.
        assert rows[wanted["visit_id"]] == {**wanted, "version": (1 << 48) | wanted["version"]}


def test_a_reset_on_the_same_log_works_it_off_from_its_start(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    log = messages(world(Random(10)))
    send(kafka.bootstrap, [message.value for message in log])
    for log_epoch in (0, 1):
        with worker_on(tmp_path, kafka.bootstrap) as worker:
            wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 60)
        rows = {row["visit_id"]: row["version"] for row in tables_in(kafka.bootstrap).visits()}
        assert rows == {row["visit_id"]: (log_epoch << 48) | row["version"] for row in run(log).visits()}
        assert main(["topics", "reset-state", "--bootstrap", kafka.bootstrap]) == 0


def test_a_topic_made_anew_under_a_running_worker_stops_it(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    log = messages(world(Random(9)))
    send(kafka.bootstrap, [message.value for message in log])
    worker = Worker(tmp_path, kafka.bootstrap)
    try:
        wait_until_zero(lambda: stream_lag(kafka.bootstrap), worker.keep_alive, 60)
        recreate(kafka.bootstrap)
        # As many as before: by their offsets alone they would pass for done already.
        send(kafka.bootstrap, [message.value for message in log])
        assert worker.child.process is not None
        assert worker.child.process.wait(60) == 2
    finally:
        worker.child.stop()
    assert "footfall topics reset-state" in worker.child.tail()


def recreate(bootstrap: str) -> None:
    """Delete the topic of sightings and make it anew, as soon as the broker has let go of the old one."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([SIGHTINGS.name])[SIGHTINGS.name].result()
    wait_until_zero(lambda: SIGHTINGS.name in admin.list_topics(timeout=10).topics, lambda: None, 30)
    apply_topics(bootstrap, partitions=2)
