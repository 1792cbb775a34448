"""Sinks on real Kafka and ClickHouse's engine while one of them fails: the rows of a run without faults."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import apply_topics
from footfall_events.errors import StoreUnavailable
from footfall_sinks.batch import Item, Limits, Place
from footfall_sinks.clickhouse import ClickHouseStore
from footfall_sinks.consume import Sink
from footfall_sinks.kafka import KafkaDeadLetters, KafkaSource
from footfall_sinks.metrics import SinkMetrics
from footfall_sinks.migrate import apply_schema
from footfall_sinks.settings import SinkSettings
from prometheus_client import CollectorRegistry

from tests.broker.faulty_store import Fault, faulty
from tests.broker.sink_world import IMPATIENT, PARTITIONS, TABLES, Database, SinkProcess, World, ended, wait_until

pytestmark = pytest.mark.broker

log = logging.getLogger(__name__)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    store = Database(tmp_path)
    with ended(store.child):
        yield store


@pytest.fixture
def world(kafka: EmbeddedKafka, database: Database) -> World:
    apply_topics(kafka.bootstrap, PARTITIONS)
    return World(kafka.bootstrap, database, seed=1)


def impatient(kafka: EmbeddedKafka, database: Database) -> SinkSettings:
    """The settings of a sink process."""
    return SinkSettings.from_mapping(
        {**IMPATIENT, "FOOTFALL_BOOTSTRAP": kafka.bootstrap, "FOOTFALL_CLICKHOUSE": database.url}
    )


def stored_twice(database: Database) -> int:
    """Tables that hold one version of a row more than once."""
    counts = [f"SELECT count() > uniqExact(tuple(*)) AS twice FROM footfall.{table}" for table in TABLES]
    return sum(row["twice"] for sql in counts for row in database.rows(sql))


def stop_merges(database: Database) -> None:
    with database.client() as client:
        for table in TABLES:
            client.command(f"SYSTEM STOP MERGES footfall.{table}")


def parts(database: Database) -> set[str]:
    """Directories of the parts that the logs consist of."""
    return {row["path"] for row in database.rows("SELECT path FROM system.parts WHERE active AND table LIKE '%_log'")}


def test_no_way_of_failing_costs_a_row_or_doubles_one(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    with faulty(database.port) as proxy:
        sink = SinkProcess("sink", tmp_path, kafka.bootstrap, proxy.url)
        with ended(sink):
            world.send()
            wait_until(world.drained, "the first rows are stored")
            before = world.group.members()
            for fault in (each for each in Fault if each is not Fault.NONE):
                proxy.fail(fault)
                world.send()
                if fault is Fault.REFUSED:
                    wait_until(lambda: "store does not answer" in sink.log.read_text(), "the sink notices")
                else:
                    wait_until(lambda fault=fault: proxy.suffered[fault] > 1, f"{fault.name} is met twice")  # type: ignore[misc]
                back_s = time.monotonic()
                proxy.fail(Fault.NONE)
                wait_until(world.drained, f"the rows are stored after {fault.name}")
                log.info("drained %.1f s after the end of %s", time.monotonic() - back_s, fault.name)
                assert world.differences() == [], f"after {fault.name}: {fault.value}"
            assert sink.is_running()
            wait_until(world.group.members, "the broker describes the group")
            assert world.group.members() == before, "the sink left its group"


def test_a_long_outage_pauses_the_sink_and_costs_it_no_membership(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
    with ended(sink):
        world.send()
        wait_until(world.drained, "the first rows are stored")
        before = world.group.members()
        assert len(before) == 1
        database.child.kill()
        world.send()
        # Longer than the session timeout (6 s), and than the time after which a sink that stopped polling is left out.
        held = 0
        ends_s = time.monotonic() + impatient(kafka, database).longest_step_s + 5
        while time.monotonic() < ends_s:
            seen = world.group.members()
            assert seen in ({}, before), "the sink left its group, or joined it anew"
            held += seen == before
            assert sink.is_running()
            time.sleep(0.5)
        assert held > 5
        assert world.group.lag() > 0, "something was committed that no store has"
        back_s = time.monotonic()
        database.start()
        wait_until(world.drained, "the rows are stored")
        log.info("drained after %.1f s", time.monotonic() - back_s)
        assert world.group.members() == before
        assert world.differences() == []


def test_rows_that_are_inserted_twice_count_once(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    stop_merges(database)  # until the restart: what is stored twice is seen
    with faulty(database.port) as proxy:
        sink = SinkProcess("sink", tmp_path, kafka.bootstrap, proxy.url)
        with ended(sink):
            proxy.fail(Fault.LOST_REPLY)
            world.send()
            wait_until(lambda: stored_twice(database), "a row is stored twice")
            database.child.kill()
            world.send()
            wait_until(lambda: "store does not answer" in sink.log.read_text(), "the sink notices")
            database.start()
            proxy.fail(Fault.NONE)
            wait_until(world.drained, "the rows are stored")
        assert world.differences() == []


def test_rows_that_the_store_noted_but_lost_are_inserted_again(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    """Killed within an insert, ClickHouse may keep its token, and not its rows: it writes down the token first."""
    stop_merges(database)
    with database.client() as client:
        for table in TABLES:  # as before migration 0007
            client.command(f"ALTER TABLE footfall.{table} MODIFY SETTING non_replicated_deduplication_window = 1000")
    with faulty(database.port) as proxy:
        sink = SinkProcess("sink", tmp_path, kafka.bootstrap, proxy.url)
        with ended(sink):
            world.send()
            wait_until(world.drained, "the first rows are stored")
            acknowledged = parts(database)
            proxy.fail(Fault.LOST_REPLY)
            world.send()
            wait_until(lambda: proxy.suffered[Fault.LOST_REPLY], "rows are stored without a word")
            noted = parts(database) - acknowledged
            assert noted
            database.child.kill()
            for part in noted:
                shutil.rmtree(part)
            database.start()
            proxy.fail(Fault.NONE)
            wait_until(world.drained, "the rows are stored")
        assert world.differences() == []


def test_a_sink_that_is_killed_frozen_or_ended_beside_others_changes_nothing(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    def joined(number: int) -> bool:
        return len(world.group.members()) == number

    with faulty(database.port) as proxy:
        frozen = SinkProcess("frozen", tmp_path, kafka.bootstrap, proxy.url)
        second = SinkProcess("second", tmp_path, kafka.bootstrap, database.url)
        with ended(frozen, second):
            wait_until(lambda: joined(2), "two sinks share the partitions")
            proxy.fail(Fault.LATE)
            world.send()
            wait_until(lambda: proxy.suffered[Fault.LATE], "the first sink is within an insert")
            frozen.child.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            wait_until(lambda: joined(1), "the group goes on without the frozen sink")
            world.send()
            wait_until(world.drained, "the second sink stores everything")
            assert world.differences() == []
            committed = world.group.committed()
            proxy.fail(Fault.NONE)  # what the frozen sink sent arrives now, hours late for all it knows
            frozen.child.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
            wait_until(lambda: joined(2), "the thawed sink is back")
            assert world.group.committed() == committed, "a sink committed for partitions that it had lost"
            third = SinkProcess("third", tmp_path, kafka.bootstrap, database.url)
            with ended(third):
                world.send()
                wait_until(lambda: joined(3), "a third sink takes part")
                second.child.kill()
                world.send()
                wait_until(lambda: joined(2), "the group goes on without the killed sink")
                frozen.child.stop()
                assert frozen.child.exit_code() == 0
                world.send()
                wait_until(world.drained, "the last sink stores everything")
                assert third.is_running()
            assert world.differences() == []


def test_a_broker_that_restarts_under_a_sink_changes_nothing(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World
) -> None:
    sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
    with ended(sink):
        world.send(200)
        wait_until(lambda: world.group.committed(), "something is stored")
        kafka.kill()
        kafka.start()
        back_s = time.monotonic()
        world.send()
        wait_until(world.drained, "the rows are stored")
        log.info("drained after %.1f s", time.monotonic() - back_s)
        assert sink.is_running()
        assert world.differences() == []


def test_a_sink_without_tables_waits_and_names_the_command_that_makes_them(
    tmp_path: Path, kafka: EmbeddedKafka
) -> None:
    apply_topics(kafka.bootstrap, PARTITIONS)
    database = Database(tmp_path, schema=False)
    database.child.kill()
    sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
    with ended(sink, database.child):
        world = World(kafka.bootstrap, database, seed=2)
        world.send()
        wait_until(lambda: "store does not answer" in sink.log.read_text(), "the sink says that there is no store")
        database.start()
        wait_until(lambda: "run `footfall schema apply`" in sink.log.read_text(), "the sink names the command")
        with database.client() as client:
            apply_schema(client, None)
        wait_until(world.drained, "the rows are stored")
        assert sink.is_running()
        assert world.differences() == []


class CommitsFirst(KafkaSource):
    """Broken on purpose: what was taken counts as done."""

    def take(self, wait_s: float) -> Sequence[tuple[Place, Item]]:
        taken = super().take(wait_s)
        if taken:
            super().commit({place: item.offset + 1 for place, item in taken})
        return taken

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Done before."""


class Away:
    """A store that is never there."""

    def insert(self, table: str, rows: pa.Table) -> None:
        raise StoreUnavailable("away")


def crash(settings: SinkSettings, kind: type[KafkaSource]) -> None:
    """Run a sink without a store until it has taken something, and end it like a crash: nothing is written."""

    def forget(places: Iterable[Place]) -> None:
        """A crash tells nobody."""

    with closing(kind(settings, forget)) as source, ThreadPoolExecutor(1) as inserts:
        registry = CollectorRegistry()
        limits = Limits(linger_s=0.1, idle_s=0.1)
        letters, metrics = KafkaDeadLetters(settings), SinkMetrics(registry)
        sink = Sink(source, Away(), letters, metrics, limits=limits, inserts=inserts, clock=time.monotonic)

        def has_taken() -> bool:
            sink.step(0.1)
            return registry.get_sample_value("footfall_sinks_paused") == 1

        wait_until(has_taken, "the sink finds no store")


@pytest.mark.parametrize(("kind", "harmless"), [(KafkaSource, True), (CommitsFirst, False)], ids=["sound", "broken"])
def test_the_comparison_notices_a_sink_that_commits_before_it_inserts(
    tmp_path: Path, kafka: EmbeddedKafka, database: Database, world: World, kind: type[KafkaSource], harmless: bool
) -> None:
    settings = impatient(kafka, database)
    world.send()
    crash(settings, kind)
    sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
    with ended(sink):
        wait_until(world.drained, "the rows are stored")
        assert (world.differences() == []) == harmless
    ClickHouseStore(database.url).close()
