"""A fleet of one worker on a real broker, the command beside it, and the tables that its log must lead to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as KafkaMessage
from footfall_cli.children import Child
from footfall_cli.drained import read_all
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.log_reader import read_log, spans_of
from footfall_cli.main import footfall
from footfall_events.producing import PRODUCER
from footfall_events.stores import ChainConfig
from footfall_events.topics import SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams import partitioning
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.state import State
from footfall_streams.step import Output, Step

from tests.property.worlds import SentBatch, Tables

PARTITIONS = 2
BROKEN_RELEASE = str(Path(__file__).parent / "broken_release")


def partition_of(key: bytes) -> int:
    return partitioning.partition_of(key, PARTITIONS)


class Fleet:
    """A worker that is started again whenever it has ended."""

    def __init__(self, directory: Path, kafka: EmbeddedKafka, config: Path, python_path: str = "") -> None:
        # The worker inherits what the tests run in.
        environ = {**os.environ, "FOOTFALL_CHUNK_MESSAGES": "8", "FOOTFALL_SESSION_TIMEOUT_S": "6"}  # noqa: TID251
        command = footfall("stream", "--config", config, "--bootstrap", kafka.bootstrap, "--metrics-port", "0")
        paths = [path for path in (python_path, environ.get("PYTHONPATH")) if path]
        self.environ = {**environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.child = Child("worker", command, directory / "worker.log", self.environ)
        self.deaths = 0
        self.child.start()

    def log(self) -> str:
        return self.child.log.read_text()

    def keep_alive(self) -> None:
        if self.child.exit_code() is not None:
            assert self.child.exit_code() != 2, self.child.tail()
            self.deaths += 1
            self.child.start()


@contextmanager
def fleet(directory: Path, kafka: EmbeddedKafka, config: Path, python_path: str = "") -> Iterator[Fleet]:
    running = Fleet(directory, kafka, config, python_path)
    try:
        yield running
    finally:
        running.child.stop()


@dataclass(frozen=True)
class Said:
    """What one run of the command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def deadletters(workers: Fleet, kafka: EmbeddedKafka, *arguments: str | Path, keep_alive: bool = True) -> Said:
    """Run `footfall deadletters` with the release of the workers, who are kept alive meanwhile if that is wanted."""
    command = footfall("deadletters", *arguments, "--bootstrap", kafka.bootstrap)
    with subprocess.Popen(
        command, env=workers.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            while True:
                if keep_alive:
                    workers.keep_alive()
                try:
                    out, err = running.communicate(timeout=0.1)
                    return Said(running.returncode, out, err)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            running.kill()


def send(kafka: EmbeddedKafka, batches: Sequence[SentBatch], partition: int = -1) -> list[KafkaMessage]:
    """Send as a collector does, or into one partition; each batch's message as the broker has it."""
    return send_values(kafka, [(batch.store, batch.value()) for batch in batches], partition)


def send_values(kafka: EmbeddedKafka, values: Sequence[tuple[str, bytes]], partition: int = -1) -> list[KafkaMessage]:
    """Send bytes under keys to `sightings.v1`."""
    producer = Producer({**PRODUCER, "bootstrap.servers": kafka.bootstrap})
    delivered: dict[int, KafkaMessage] = {}
    for number, (key, value) in enumerate(values):

        def report(error: KafkaError | None, message: KafkaMessage, number: int = number) -> None:
            assert error is None
            delivered[number] = message

        producer.produce(SIGHTINGS.name, value, key.encode(), partition=partition, on_delivery=report)
    producer.flush(60)
    return [delivered[number] for number in range(len(values))]


def log_of(kafka: EmbeddedKafka, *quarantined: tuple[int, int]) -> list[Message]:
    """`sightings.v1` as the broker holds it, with some messages set aside."""
    return [
        Message(
            each.partition,
            each.offset,
            each.key,
            each.value or b"",
            each.at_ms,
            quarantined=(each.partition, each.offset) in quarantined,
        )
        for each in read_log(kafka.bootstrap, SIGHTINGS.name, spans_of(kafka.bootstrap, SIGHTINGS.name))
    ]


def pure_tables(log: Sequence[Message], phases: Sequence[tuple[ChainConfig, Mapping[int, int]]]) -> Tables:
    """The tables of the log, folded under one configuration after the other, each up to offsets by partition."""
    tables = Tables()
    state: dict[int, State] = {number: {} for number in range(PARTITIONS)}
    begin: Mapping[int, int] = {}
    for chain, ends in phases:
        job = StoreJob(chain, partition_of)
        for partition in state:
            job.restore(partition, 0, state[partition])
        for message in log:
            if not begin.get(message.partition, 0) <= message.offset < ends.get(message.partition, 2**62):
                continue
            step = job.take([message])
            tables.add(step)
            for partition, changes in step.state.items():
                state[partition].update(changes)
        begin = ends
    return tables


def tables_in(kafka: EmbeddedKafka) -> Tables:
    """What the topics hold, as ClickHouse would show it."""
    tables, step = Tables(), Step()
    for topic in (VISITS.name, STORE_MINUTES.name):
        for found in read_all(kafka.bootstrap, topic):
            step.outputs[found.partition].append(Output(topic, found.key, found.value or b""))
    tables.add(step)
    return tables


def same(found: Tables, wanted: Tables, *, version: bool = True) -> bool:
    return found.visits(version=version) == wanted.visits(version=version) and found.minutes(
        version=version
    ) == wanted.minutes(version=version)
