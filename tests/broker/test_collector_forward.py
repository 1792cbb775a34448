"""The forwarder in this process, on real Kafka: what its client gives up is sent again, in order."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not re-exported by its stubs
from footfall_cli.drained import read_all
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import apply_topics
from footfall_collectors.forward import Flight, Forwarder
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.outage import Outage
from footfall_collectors.spool import Bounds, Spool, SpoolBroken, Spooled
from footfall_events.topics import SIGHTINGS
from prometheus_client import CollectorRegistry

from tests.broker.spooling_collector import wait_until
from tests.unit.collector_runs import blocks_of, pcap, probe, run_blocks, session

pytestmark = pytest.mark.broker


def test_a_client_that_gives_up_a_topic_that_is_not_there_is_replaced_until_it_is(
    tmp_path: Path, kafka: EmbeddedKafka
) -> None:
    registry = CollectorRegistry()
    metrics, said = CollectorMetrics(registry), list[str]()
    spool = Spool(tmp_path / "spool", Bounds(10**9, 10**12), metrics, said.append)
    for number in range(600):
        spool.append(SIGHTINGS.name, b"s", b"%d" % number, number, "x")
    # Librdkafka gives a topic half a minute to appear.
    client = {"bootstrap.servers": kafka.bootstrap, "topic.metadata.propagation.max.ms": "500"}
    forwarder = Forwarder(spool, client, metrics, said.append, Event())
    try:
        given_up = ("footfall_collector_client_errors_total", {"reason": "UNKNOWN_TOPIC_OR_PART"})
        wait_until(lambda: (registry.get_sample_value(*given_up) or 0) >= 2, "given up twice")
        assert spool.messages == 600
        apply_topics(kafka.bootstrap, partitions=2)
        wait_until(lambda: not spool.messages, "everything confirmed")
    finally:
        forwarder.close()
        spool.close()
    values = [message.value for message in read_all(kafka.bootstrap, SIGHTINGS.name)]
    assert values == [b"%d" % number for number in range(600)]
    assert not [line for line in said if "refuses" in line]


def test_nothing_overtakes_the_neighbours_of_a_refused_message(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("t", 1, 1, config={"max.message.bytes": "2000"})])["t"].result()
    registry = CollectorRegistry()
    spool = Spool(tmp_path / "spool", Bounds(10**9, 10**12), CollectorMetrics(registry), lambda _: None)
    for number in range(30):
        spool.append("t", b"s", b"%d|" % number + os.urandom(4_000 if number == 4 else 10), number, "x")
    # Three a request: the next one is on its way when the refusal comes.
    client = {"bootstrap.servers": kafka.bootstrap, "batch.num.messages": "3"}
    # However long it takes until somebody does something about its failure, a client sends nothing behind it.
    flight = Flight(client, Outage(CollectorMetrics(CollectorRegistry()), lambda _: None))
    for message in spool.after(0, 30):
        flight.take(message)
    confirmed: list[Spooled] = []

    def has_failed() -> bool:
        confirmed.extend(flight.confirmed(0.1))
        return flight.failure is not None

    wait_until(has_failed, "the refusal")
    for _ in range(20):
        confirmed += flight.confirmed(0.1)
    confirmed += flight.end()
    assert [message.id for message in confirmed] == [1, 2, 3]
    forwarder = Forwarder(spool, client, CollectorMetrics(CollectorRegistry()), lambda _: None, Event())
    try:
        wait_until(lambda: not spool.messages, "everything confirmed or refused")
    finally:
        forwarder.close()
        spool.close()
    numbers = [int((message.value or b"").split(b"|")[0]) for message in read_all(kafka.bootstrap, "t")]
    assert list(dict.fromkeys(numbers)) == [number for number in range(30) if number != 4]


def test_a_spool_that_breaks_ends_the_source_and_the_run(tmp_path: Path) -> None:
    metrics, stop = CollectorMetrics(CollectorRegistry()), Event()
    spool = Spool(tmp_path / "spool", Bounds(10**9, 10**12), metrics, lambda _: None)
    forwarder = Forwarder(spool, {"bootstrap.servers": "127.0.0.1:9"}, metrics, lambda _: None, stop)
    try:
        spool.close()
        assert stop.wait(30)
        (output, *_) = run_blocks(blocks_of(pcap([(1_700_000_000_000, probe("00:1b:2f:00:00:01"))])), session())
        with pytest.raises(SpoolBroken, match="cannot be kept any more"):
            forwarder.send("s", output)
        with pytest.raises(SpoolBroken):
            forwarder.finish()
    finally:
        forwarder.close()
