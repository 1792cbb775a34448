"""Everything that happens to a fleet of workers and to its broker, while messages keep coming: no row differs."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from footfall_cli.drained import read_all
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import apply_topics
from footfall_events.rows import encode_rows
from footfall_events.topics import DEAD_LETTERS

from tests.broker.fleets import fleet_on
from tests.broker.side_by_side import Case, chosen, side_by_side
from tests.broker.workers import Feed, Shops, Worker, assert_exact, drain, ending, until

pytestmark = pytest.mark.broker

PARTITIONS = 4
GIVES_UP_S = 30
"""A worker gives a commit up after this time (checkpoint.py)."""


def members_come_and_go(kafka: EmbeddedKafka, directory: Path) -> None:
    with fleet_on(kafka.bootstrap, directory, "members", PARTITIONS) as fleet:
        fleet.add("one", "two")
        fleet.recover("start of two workers")
        fleet.workers["one"].child.kill()
        fleet.recover("SIGKILL of one of two, started again")
        fleet.remove("two")
        fleet.recover("SIGTERM of one of two")
        fleet.add("two", "three")
        fleet.recover("two workers added to one")
        fleet.workers["one"].signal(signal.SIGSTOP)
        fleet.recover("SIGSTOP of one of three")
        fleet.work_for(10)
        fleet.workers["one"].signal(signal.SIGCONT)
        fleet.recover("SIGCONT 10 s after the others took over")
        fleet.remove("three")
        fleet.recover("SIGTERM of one of three")
        fleet.assert_exact()


def broker_restarts(kafka: EmbeddedKafka, directory: Path) -> None:
    with fleet_on(kafka.bootstrap, directory, "restarts", PARTITIONS) as fleet:
        fleet.add("one", "two")
        fleet.recover("start of two workers")
        kafka.stop()
        kafka.start()
        fleet.recover("SIGTERM and start of the broker")
        kafka.kill()
        kafka.start()
        fleet.recover("SIGKILL and start of the broker")
        fleet.assert_exact()


def network_stalls(kafka: EmbeddedKafka, directory: Path) -> None:
    """Connections stay open and nothing comes, until a worker within a commit has given up; one between two waits."""
    with fleet_on(kafka.bootstrap, directory, "stalls", PARTITIONS) as fleet:
        fleet.add("one", "two", FAIL_POINT="written:stop:20")
        workers = list(fleet.workers.values())
        fleet.until(lambda: any(worker.is_frozen() for worker in workers))
        fleet.feed.finish()

        def go_on() -> None:
            fleet.feed.send(1)
            for worker in workers:
                worker.signal(signal.SIGCONT)

        assert kafka.child.process is not None
        kafka.child.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: any(worker.child.exit_code() is not None for worker in workers), go_on)
            time.sleep(GIVES_UP_S)
        finally:
            kafka.child.process.send_signal(signal.SIGCONT)
        assert {worker.child.exit_code() for worker in workers} <= {1, None}
        fleet.recover("a stall longer than any timeout of a commit")
        fleet.assert_exact()


def disk_fills_up(_: EmbeddedKafka, directory: Path) -> None:
    """The broker's disk is full: what then ends is started again once there is room."""
    home = directory / "small"
    with small_disk(home / "kafka", "48m") as disk:
        kafka = EmbeddedKafka(home)
        try:
            kafka.start()
            apply_topics(kafka.bootstrap, PARTITIONS)
            with fleet_on(kafka.bootstrap, directory, "disk", PARTITIONS) as fleet:
                fleet.add("one", "two")
                fleet.recover("start of two workers")
                # A broker that dies of its disk may refuse a batch with an error that Kafka's client gives up on, and
                # only a sensor's outbox sends again: so what the workers have to do is in the log by then.
                fleet.feed.send(100)
                fleet.feed.finish()
                ballast = fill(disk)
                until(lambda: kafka.child.exit_code() is not None, fleet.keep_alive, 120)
                ballast.unlink()
                kafka.start()
                fleet.recover("a full disk that took the broker down")
                fleet.assert_exact()
        finally:
            kafka.kill()


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


POISON = {
    "nothing": b"",
    "no Arrow": b"not a batch",
    "a torn stream": encode_rows(pa.record_batch({"x": [1]}))[:-20],
    "another schema": encode_rows(pa.record_batch({"x": [1]})),
}


def poison(kafka: EmbeddedKafka, directory: Path) -> None:
    """Each costs one dead letter, and the process that meets them goes on."""
    shops = Shops.on_every_partition("poison", PARTITIONS)
    batches = shops.batches(3)
    feed = Feed(kafka.bootstrap, batches)
    worker = Worker(directory, kafka.bootstrap, shops, name="poison", STREAM_GROUP="poison")
    first = worker.child.process
    with ending(worker):
        for value in POISON.values():
            feed.send(len(batches) // 5)
            feed.send_value(shops.names[0], value)
        feed.send()
        feed.finish()
        drain(kafka.bootstrap, worker.keep_alive)
        assert worker.child.process is first
        assert worker.child.exit_code() is None
    letters = read_all(kafka.bootstrap, DEAD_LETTERS.name)
    assert [letter.value for letter in letters if letter.key == shops.names[0].encode()] == list(POISON.values())
    assert_exact(kafka.bootstrap, shops, batches, list(POISON.values()))


CASES: dict[str, Case] = {
    "workers are killed, ended, frozen, thawed, added and removed": members_come_and_go,
    "the broker is restarted under two workers": broker_restarts,
    "the network stalls": network_stalls,
    "the broker's disk fills up": disk_fills_up,
    "poison costs one dead letter each and no restart": poison,
}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    cases = {name: CASES[name] for name in chosen(request, "case")}
    with side_by_side(cases, tmp_path_factory.mktemp("fleet"), brokers=3, partitions=PARTITIONS) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_the_tables_are_exact_when(case: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[case].result()
