"""Each step of checkpoint.py against the fault that its order defends against, on real Apache Kafka."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from footfall_cli.drained import checkpointed
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import apply_topics
from footfall_events.topics import SIGHTINGS

from tests.broker.side_by_side import Case, chosen, side_by_side
from tests.broker.workers import (
    Feed,
    Shops,
    Worker,
    assert_exact,
    assert_tables,
    drain,
    ending,
    folded,
    log_of,
    until,
)
from tests.property.worlds import SentBatch

pytestmark = pytest.mark.broker

PARTITIONS = 2
LOSSY = (sys.executable, Path(__file__).with_name("lossy_worker.py"))

# The passing that lies in the middle of the work. A worker passes `owned` once a partition and `restored` once as it
# starts; the next time is when a second one joins. What lies within a commit is passed once a partition and step.
PASSINGS = {
    "owned": PARTITIONS + 1,
    "restored": 2,
    "guarded": 4,
    "folded": 4,
    "produced": 7,
    "written": 7,
    "committed": 7,
    "acknowledged": 4,
}
AT_A_TAKEOVER = ("owned", "restored")
BEFORE_ITS_COMMIT = ("guarded", "folded", "produced", "written")


class Scene:
    """One case on one broker: two stores, one on each partition, their batches, and workers of one group."""

    def __init__(self, name: str, kafka: EmbeddedKafka, directory: Path, seed: int = 1) -> None:
        self.name, self._directory = name, directory
        self.kafka = kafka.bootstrap
        self.shops = Shops.on_every_partition(name, PARTITIONS)
        self.batches = self.shops.batches(seed)
        self.feed = Feed(self.kafka, self.batches)
        self._workers = 0

    def worker(self, command: tuple[str | Path, ...] | None = None, **settings: str) -> Worker:
        """One more worker, of the case's group unless another is named."""
        self._workers += 1
        name = f"{self.name}-{self._workers}"
        settings = {"STREAM_GROUP": self.name, **settings}
        return Worker(self._directory, self.kafka, self.shops, name=name, command=command, **settings)

    def send(self, count: int | None = None) -> None:
        self.feed.send(count)
        self.feed.finish()

    def drain(self, worker: Worker) -> None:
        drain(self.kafka, worker.keep_alive)

    def assert_exact(self, more: Sequence[bytes] = ()) -> None:
        """`more` is what was sent beside the batches."""
        assert not self.feed.left
        assert_exact(self.kafka, self.shops, self.batches, more)


def has_failed(worker: Worker) -> bool:
    """Whether it has come to its fail point."""
    return worker.is_frozen() or worker.child.exit_code() == -signal.SIGKILL


def fails_at(fault: str, kafka: EmbeddedKafka, directory: Path) -> None:
    """A worker is killed or frozen, the group notices, another takes over; a frozen one is thawed after that."""
    place, action = fault.split(":")
    scene = Scene(f"{place}-{action}", kafka, directory)
    first = scene.worker(FAIL_POINT=f"{fault}:{PASSINGS[place]}")
    with ending(first):
        scene.send(len(scene.batches) // 2)
        if place in AT_A_TAKEOVER:
            scene.drain(first)
        else:
            until(lambda: has_failed(first))
        second = scene.worker()
        with ending(second):
            until(lambda: has_failed(first), second.keep_alive)
            scene.send(len(scene.batches) // 4)
            scene.drain(second)
            if action == "stop":
                first.signal(signal.SIGCONT)
                if place in BEFORE_ITS_COMMIT:
                    # At other places it has nothing to write yet: it may join its group again and be useful.
                    assert first.wait() == 1, first.child.tail()
            scene.send()
            scene.drain(second)
            scene.assert_exact()


# -- 1 Own -------------------------------------------------------------------------------------------------


def thawed_owner(kafka: EmbeddedKafka, directory: Path) -> None:
    """The group never tells the old owner that it is out: only the fence stands in its way."""
    scene = Scene("thawed-owner", kafka, directory)
    old = scene.worker(FAIL_POINT="folded:stop:4", STREAM_GROUP="thawed-owner-old")
    with ending(old):
        scene.send(len(scene.batches) // 2)
        until(lambda: has_failed(old))
        new = scene.worker()
        with ending(new):
            scene.send()
            scene.drain(new)
            old.signal(signal.SIGCONT)
            assert old.wait() == 1, old.child.tail()
            assert "fenced" in old.child.tail(40)
            scene.assert_exact()


# -- 2 Restore ---------------------------------------------------------------------------------------------


def open_transaction(kafka: EmbeddedKafka, directory: Path) -> None:
    """The old owner is dead, its transaction stays open for 15 s: the new one neither waits for it nor reads it."""
    scene = Scene("open-transaction", kafka, directory)
    old = scene.worker(FAIL_POINT="written:kill:7", STREAM_GROUP="open-transaction-old")
    with ending(old):
        scene.send()
        until(lambda: has_failed(old))
    new = scene.worker()
    with ending(new):
        scene.drain(new)
        assert new.counters()["skipped_messages_total"] == 0
        scene.assert_exact()


def commit_during_the_takeover(kafka: EmbeddedKafka, directory: Path) -> None:
    """The old owner tries to commit after the new one has begun to take over, before that has read the state."""
    scene = Scene("commit-during-takeover", kafka, directory)
    old = scene.worker(FAIL_POINT="written:stop:7", STREAM_GROUP="commit-during-takeover-old")
    with ending(old):
        scene.send(len(scene.batches) // 2)
        until(lambda: has_failed(old))
        new = scene.worker(FAIL_POINT=f"owned:stop:{PARTITIONS}")
        with ending(new):
            until(lambda: has_failed(new))
            old.signal(signal.SIGCONT)
            assert old.wait() == 1, old.child.tail()
            new.signal(signal.SIGCONT)
            scene.send()
            scene.drain(new)
            scene.assert_exact()


# -- 3 Guard -----------------------------------------------------------------------------------------------


def lost_message(kafka: EmbeddedKafka, directory: Path) -> None:
    """The client drops one message: the worker ends, and its restart takes the message."""
    scene = Scene("lost-message", kafka, directory)
    worker = scene.worker(LOSSY, LOSSY="drop:60")
    with ending(worker):
        scene.send()
        assert worker.wait() == 1
        assert "was skipped on its way here" in worker.child.tail(40)
    healthy = scene.worker()
    with ending(healthy):
        scene.drain(healthy)
        assert healthy.counters()["log_holes_total"] == 0
        scene.assert_exact()


def repeated_message(kafka: EmbeddedKafka, directory: Path) -> None:
    """The client hands one message over twice: it is done already, and goes on."""
    scene = Scene("repeated-message", kafka, directory)
    worker = scene.worker(LOSSY, LOSSY="repeat:60")
    with ending(worker):
        scene.send()
        drain(scene.kafka, lambda: None)
        assert worker.counters()["skipped_messages_total"] == 1
        scene.assert_exact()


def hole_of_transactions(kafka: EmbeddedKafka, directory: Path) -> None:
    """Somebody wrote sightings in transactions: each leaves a marker, an offset without a message."""
    scene = Scene("hole-of-transactions", kafka, directory)
    third = len(scene.batches) // 3
    for number in (1, 2):
        in_transaction(scene, scene.feed.left[:third])
        del scene.feed.left[:third]
        assert number * third + len(scene.feed.left) == len(scene.batches)
    scene.send()
    worker = scene.worker()
    with ending(worker):
        scene.drain(worker)
        assert worker.counters()["log_holes_total"] == 2 * PARTITIONS
        scene.assert_exact()


def in_transaction(scene: Scene, batches: list[SentBatch], *, abort: bool = False) -> None:
    config = {"transactional.id": scene.name, "partitioner": "murmur2_random", "log_level": 0}
    producer = Producer({"bootstrap.servers": scene.kafka, **config})
    producer.init_transactions(60)
    producer.begin_transaction()
    for batch in batches:
        producer.produce(SIGHTINGS.name, batch.value(), batch.store.encode())
    assert producer.flush(60) == 0
    if abort:
        producer.abort_transaction(60)
    else:
        producer.commit_transaction(60)


def hole_of_an_abort(kafka: EmbeddedKafka, directory: Path) -> None:
    """What an aborted transaction wrote is no part of the log, nor does it stop the worker."""
    scene = Scene("hole-of-an-abort", kafka, directory)
    third = len(scene.batches) // 3
    in_transaction(scene, scene.feed.left[:third])
    del scene.feed.left[:third]
    in_transaction(scene, scene.feed.left[:third], abort=True)
    scene.send()
    worker = scene.worker()
    with ending(worker):
        drain(scene.kafka, lambda: None, 30)
        assert worker.child.exit_code() is None, worker.child.tail()
        scene.assert_exact()


def hole_of_retention(kafka: EmbeddedKafka, directory: Path) -> None:
    """Nobody worked for so long that retention took messages before they were processed."""
    scene = Scene("hole-of-retention", kafka, directory)
    third = len(scene.batches) // 3
    worker = scene.worker()
    with ending(worker):
        scene.send(third)
        scene.drain(worker)
    done = checkpointed(scene.kafka)
    scene.send(third)
    before = log_of(scene.kafka, scene.shops)
    gone = {number: offset + 20 for number, offset in done.items()}
    deletions = [TopicPartition(SIGHTINGS.name, number, offset) for number, offset in gone.items()]
    admin = AdminClient({"bootstrap.servers": scene.kafka})
    for future in admin.delete_records(deletions).values():
        future.result(60)
    scene.send()
    late = scene.worker()
    with ending(late):
        scene.drain(late)
        assert late.counters()["log_holes_total"] == 20 * PARTITIONS
    taken = [message for message in before if message.offset < done[message.partition]]
    left = [message for message in log_of(scene.kafka, scene.shops) if message.offset >= gone[message.partition]]
    log = sorted([*taken, *left], key=lambda message: (message.partition, message.offset))
    assert_tables(scene.kafka, scene.shops, folded(log, scene.shops, PARTITIONS))


# -- 4 Process ---------------------------------------------------------------------------------------------


def bug_of_ours(kafka: EmbeddedKafka, directory: Path) -> None:
    """Our own code raises after it has folded: the process ends loudly, and nothing is skipped."""
    scene = Scene("bug-of-ours", kafka, directory)
    worker = scene.worker(FAIL_POINT="folded:raise:4")
    with ending(worker):
        scene.send()
        assert worker.wait() == 1
        assert "a step failed" in worker.child.tail(60)
        assert "a fail point broke the process" in worker.child.tail(60)
        assert "was skipped" not in worker.child.tail(60), "it went on, until the guard missed the step"
        scene.drain(worker)
        scene.assert_exact()


# -- 5 Commit ----------------------------------------------------------------------------------------------


def dies_between(place: str, kafka: EmbeddedKafka, directory: Path) -> None:
    """A crash at a border of the transaction; poison among the messages, as the state knows batches but not poison."""
    scene = Scene(f"dies-when-{place}", kafka, directory)
    poison: list[bytes] = []
    old = scene.worker(FAIL_POINT=f"{place}:kill:7", STREAM_GROUP=f"dies-when-{place}-old")
    with ending(old):
        while scene.feed.left:
            poison.append(b"not a batch")
            scene.feed.send_value(scene.shops.names[len(poison) % PARTITIONS], poison[-1])
            scene.feed.send(5)
        scene.feed.finish()
        until(lambda: has_failed(old))
    new = scene.worker()
    with ending(new):
        scene.drain(new)
        assert new.counters()["duplicate_batches_total"] == 0
        scene.assert_exact(poison)


CASES: dict[str, Case] = {
    **{
        f"{action} when {place}": partial(fails_at, f"{place}:{action}")
        for place in PASSINGS
        for action in ("kill", "stop")
    },
    "1 own: an owner thawed after the takeover is fenced": thawed_owner,
    "2 restore: a transaction left open is aborted before the state is read": open_transaction,
    "2 restore: an old owner's commit while the new one takes over is refused": commit_during_the_takeover,
    "3 guard: a message lost on its way ends the worker": lost_message,
    "3 guard: a message that came twice is done already": repeated_message,
    "3 guard: markers of transactions are stepped over and counted": hole_of_transactions,
    "3 guard: what retention took is stepped over and counted": hole_of_retention,
    "4 process: a bug of ours ends the worker and skips nothing": bug_of_ours,
    "5 commit: outputs without their state never count": partial(dies_between, "produced"),
    "5 commit: what is committed is not done again": partial(dies_between, "committed"),
}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    cases = {name: CASES[name] for name in chosen(request, "case")}
    with side_by_side(cases, tmp_path_factory.mktemp("steps"), brokers=3, partitions=PARTITIONS) as running:
        yield running


def test_an_aborted_transaction_in_the_log_is_stepped_over(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    apply_topics(kafka.bootstrap, PARTITIONS)
    hole_of_an_abort(kafka, tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_the_protocol_is_exact(case: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[case].result()
