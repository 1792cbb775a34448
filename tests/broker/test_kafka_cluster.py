"""Three brokers, each message on all of them and confirmed by two: what the loss of one changes, and of two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in its stubs
from footfall_cli.drained import end_offsets, stream_lag, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedCluster, EmbeddedKafka
from footfall_cli.main import footfall, main
from footfall_cli.topics import apply_topics, missing_copies
from footfall_events.errors import ConfigError
from footfall_events.producing import PRODUCER
from footfall_events.topics import SIGHTINGS

from tests.broker.workers import Worker, send, tables_in
from tests.property.worlds import messages, run, world

pytestmark = pytest.mark.broker


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    """Three brokers with the topics of the contract."""
    brokers = EmbeddedCluster(tmp_path / "brokers")
    try:
        brokers.start()
        where = ["--bootstrap", brokers.bootstrap]
        with pytest.raises(ConfigError, match="4 copies of each partition need as many brokers"):
            apply_topics(brokers.bootstrap, replication=4)
        assert main(["topics", "apply", *where, "--partitions", "2", "--replication", "3"]) == 0
        yield brokers
    finally:
        brokers.kill()


@pytest.fixture
def worker(tmp_path: Path, cluster: EmbeddedCluster) -> Iterator[Worker]:
    started = Worker(tmp_path, cluster.bootstrap)
    try:
        yield started
    finally:
        started.child.stop()


def leader_of_sightings(cluster: EmbeddedCluster) -> int:
    """The broker that the partition with the messages is read from and written to."""
    (partition,) = end_offsets(cluster.bootstrap, SIGHTINGS.name)
    topics = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(SIGHTINGS.name, timeout=30).topics
    leader: int = topics[SIGHTINGS.name].partitions[partition].leader
    return leader


def copies(cluster: EmbeddedCluster) -> dict[str, tuple[int, str | None]]:
    """Of each topic, Kafka's own included: copies of a partition, and how many confirm a message."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    topics = admin.list_topics(timeout=30).topics
    configs = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics])
    needed = {resource.name: future.result()["min.insync.replicas"].value for resource, future in configs.items()}
    return {
        name: (min(len(partition.replicas) for partition in topic.partitions.values()), needed[name])
        for name, topic in topics.items()
    }


def test_a_broker_killed_for_good_changes_nothing(cluster: EmbeddedCluster, worker: Worker) -> None:
    log = messages(world(Random(11), hours=4, sightings=200))
    half = len(log) // 2
    send(cluster.bootstrap, [message.value for message in log[:half]])
    wait_until_zero(lambda: max(0, stream_lag(cluster.bootstrap) - half // 2), worker.keep_alive, 90)
    assert set(copies(cluster).values()) == {(3, "2")}
    assert apply_topics(cluster.bootstrap, 2, 3) == ["all topics exist as wanted"]
    assert "visits.v1: has 3 copies, 1 wanted: use kafka-reassign-partitions.sh" in apply_topics(cluster.bootstrap, 2)
    assert {"__consumer_offsets", "__transaction_state"} < copies(cluster).keys()
    cluster.kill(leader_of_sightings(cluster))
    send(cluster.bootstrap, [message.value for message in log[half:]])
    wait_until_zero(lambda: stream_lag(cluster.bootstrap), worker.keep_alive, 120)
    assert tables_in(cluster.bootstrap).visits() == run(log).visits()
    assert tables_in(cluster.bootstrap).minutes() == run(log).minutes()


def test_every_broker_is_killed_and_comes_back_in_turn_and_two_at_once_make_everybody_wait(
    cluster: EmbeddedCluster, worker: Worker
) -> None:
    log = messages(world(Random(12), hours=4, sightings=200))
    fifth = len(log) // 5
    cuts = [n * fifth for n in range(5)] + [len(log)]
    parts = [[message.value for message in log[begin:end]] for begin, end in pairwise(cuts)]
    send(cluster.bootstrap, parts[0])
    for number, part in zip(cluster.brokers, parts[1:4], strict=True):
        cluster.kill(number)
        send(cluster.bootstrap, part)
        cluster.start(number)
        wait_until_zero(lambda: len(missing_copies(cluster.bootstrap)), worker.keep_alive, 90)
    first, second, _ = cluster.brokers
    cluster.kill(first)
    cluster.kill(second)
    producer = Producer({**PRODUCER, "bootstrap.servers": cluster.bootstrap})
    for value in parts[4]:
        producer.produce(SIGHTINGS.name, value, b"s")
    assert producer.flush(5) == len(parts[4])
    cluster.start(second)
    wait_until_zero(lambda: producer.flush(1), worker.keep_alive, 90)
    wait_until_zero(lambda: stream_lag(cluster.bootstrap), worker.keep_alive, 120)
    assert tables_in(cluster.bootstrap).visits() == run(log).visits()
    assert tables_in(cluster.bootstrap).minutes() == run(log).minutes()


def kafka(data: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `footfall kafka`, which has ended when this returns."""
    command = footfall("kafka", *arguments, "--data", data)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=180)
    return done.returncode, done.stdout + done.stderr


def test_brokers_outlive_the_command_and_are_started_stopped_and_looked_at_again(tmp_path: Path) -> None:
    data = tmp_path / "cluster"
    assert kafka(data, "status")[0] == 1
    assert kafka(data, "stop")[0] == 0
    try:
        code, said = kafka(data, "start", "--brokers", "3")
        assert (code, "3 of them started now" in said) == (0, True), said
        where = said.split("--bootstrap ")[1].split()[0]
        assert f"footfall topics apply --bootstrap {where} --replication 3" in said
        assert main(["topics", "apply", "--bootstrap", where, "--partitions", "1", "--replication", "3"]) == 0
        assert kafka(data, "status")[0] == 0

        code, said = kafka(data, "start")
        assert (code, "0 of them started now" in said) == (0, True), said
        assert kafka(data, "start", "--brokers", "1") == (
            2,
            "footfall: cluster holds a cluster of 3, not of 1: stop it and remove the directory, "
            "or give another --data\n",
        )
        os.kill(int((data / "broker-2" / "kafka.pid").read_text()), signal.SIGKILL)
        wait_until_zero(lambda: len(missing_copies(where)) == 0, lambda: None, 60)
        code, said = kafka(data, "status")
        assert code == 1
        assert "down" in said.splitlines()[1]
        assert "sightings.v1: copies are missing in 1 of 1 partitions" in said
        code, said = kafka(data, "start")
        assert (code, "1 of them started now" in said) == (0, True), said
        wait_until_zero(lambda: len(missing_copies(where)), lambda: None, 60)
        assert kafka(data, "status")[0] == 0
    finally:
        assert kafka(data, "stop") == (0, "3 of 3 brokers ended; their data stays\n")
    assert kafka(data, "status")[0] == 1
    assert len(json.loads((data / "cluster.json").read_text())["ports"]) == 3


def test_a_number_that_is_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "cluster"
    (data / "broker-1").mkdir(parents=True)
    (data / "cluster.json").write_text(json.dumps({"cluster_id": "F", "ports": [[9, 10]]}))
    with subprocess.Popen(["sleep", "60"]) as other:
        (data / "broker-1" / "kafka.pid").write_text(f"{other.pid}\n")
        assert kafka(data, "stop") == (0, "0 of 1 brokers ended; their data stays\n")
        assert kafka(data, "status")[0] == 1
        assert other.poll() is None
        other.kill()


def test_a_broker_whose_port_another_has_taken_is_not_mistaken_for_it(tmp_path: Path) -> None:
    first = EmbeddedKafka(tmp_path / "first")
    second = EmbeddedKafka(tmp_path / "second", first.port)
    try:
        first.start()
        with pytest.raises(TimeoutError, match=r"Kafka did not start:(.|\n)*Address already in use"):
            second.start()
    finally:
        first.kill()
        second.kill()
