"""Rows a second of the sink's process, from full Kafka topics into ClickHouse's engine, against bare inserts."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clickhouse_connect.driver.client import Client
from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall
from footfall_events import topics
from footfall_sinks.batch import TARGETS, Blocks, Limits, open_item
from footfall_sinks.clickhouse import ClickHouseStore, open_client
from footfall_sinks.migrate import apply_schema

from tests.bench.broker import PARTITIONS, broker_process, fill, renew
from tests.bench.processes import counter, cpu_of_threads_s, cpu_s, pid_of, running
from tests.bench.report import Figure, Report, Say, Target, alternate, at_least
from tests.bench.result_rows import Feed

SINK, SINK_WITH_START, BARE = "Footfall's sink", "Footfall's sink, start-up included", "bare insert_arrow"
_UNIT = "rows/s"
_WAIT_S = 300.0
_NUMBERS = count()
"""Every sink is of a group that has read nothing."""

_WORK = """
Rows a second of one `footfall sink` process that works off full topics: reads committed messages, decodes and judges
them, inserts blocks of up to 50,000 rows into the tables of the schema and commits. The limit is clickhouse-connect's
`insert_arrow` of the same rows into the same tables with the same settings, a ready table in memory for every block
that the sink would cut. Both go to chDB behind the embedded endpoint, on the same cores; tables are made anew each
time. Start-up (imports, joining the group) is measured on a topic of one message, which waits for no others, and taken
off; the rate with it stands beside. The wait of the last blocks, a quarter of a second, is not taken off. Every table
must hold as many rows as were sent, and the same sum of hashes of whole rows with either contender.
"""

_CORES = len(os.sched_getaffinity(0))
_LITTLE = 100_000
_AT_ONCE = 100
"""Messages that the sink takes at once."""


@dataclass(frozen=True)
class Case:
    """What fills the topics."""

    name: str
    feeds: tuple[Feed, ...]

    @property
    def rows(self) -> int:
        return sum(feed.rows for feed in self.feeds)

    @property
    def messages(self) -> int:
        return sum(feed.messages for feed in self.feeds)


@dataclass
class Spent:
    """Seconds of each run with start-up, and of all of them processor time, by process."""

    whole_s: list[float] = field(default_factory=list)
    sink_s: float = 0.0
    client_s: float = 0.0
    """Of the sink's, its Kafka client's."""
    database_s: float = 0.0
    kafka_s: float = 0.0

    def a_million(self, rows: int, start: Spent) -> Spent:
        """Processor time a million rows, start-up taken off."""
        runs = len(self.whole_s)
        each = {name: getattr(self, name) / runs - getattr(start, name) for name in _PROCESSOR_TIMES}
        return Spent(**{name: seconds * 1e6 / rows for name, seconds in each.items()})


_PROCESSOR_TIMES = ("sink_s", "client_s", "database_s", "kafka_s")


def run(quick: bool, say: Say) -> Report:
    """All cases."""
    repetitions = 2 if quick else 9
    cases = [_visits(1_000_000, 500)]
    if not quick:
        cases = [_visits(4_000_000, 2000), _visits(4_000_000, 500), _visits(3_000_000, 50), _afternoon(2_500_000)]
    figures: list[Figure] = []
    targets: list[Target] = []
    with store() as (url, database), broker_process() as (kafka, directory):
        renew(kafka.bootstrap, [topics.DEAD_LETTERS.name])
        bench = _Bench(kafka, directory, url, database)
        start = bench.start_up(2 if quick else 3)
        say(f"start-up {start.whole_s[0]:.2f} s")
        for case in cases:
            measured, target = bench.measure(case, start, repetitions, say)
            figures += measured
            targets.append(target)
    return Report("sink", _WORK, tuple(figures), tuple(targets))


def _visits(rows: int, each: int) -> Case:
    return Case(f"visits, {each:,} rows a message", (Feed(topics.VISITS.name, rows, each),))


def _afternoon(visits: int) -> Case:
    minutes = visits // 10
    return Case(
        "all three topics, 200 visits, 20 store minutes and 1 sensor minute a message",
        (
            Feed(topics.VISITS.name, visits, 200),
            Feed(topics.STORE_MINUTES.name, minutes, 20),
            Feed(topics.SENSOR_MINUTES.name, minutes, 1),
        ),
    )


def _why(case: Case, bare: float, spent: Spent) -> str:
    """What holds the sink; `spent` is for a million rows."""
    together_s = spent.sink_s + spent.database_s + spent.kafka_s
    most = _CORES * 1e6 / together_s / bare
    messages = case.messages * 1e6 / case.rows
    smallest = min(case.feeds, key=lambda feed: feed.rows_a_message)
    return (
        f"sink, ClickHouse and Kafka together take {together_s:.2f} s of processor time a million rows, so that "
        f"{_CORES} cores reach {most:.2f} of the bare rate at most; of the sink's {spent.sink_s:.2f} s its client for "
        f"Kafka takes {spent.client_s:.2f} s to fetch and unpack {messages:,.0f} messages; {_call_by_call(smallest)}"
    )


def _call_by_call(feed: Feed) -> str:
    """What a message costs the sink's own code, measured in this process, as many at once as it takes and inserts."""
    rows = Limits().rows
    messages = list(islice(feed.encoded(), min(_AT_ONCE, rows // feed.rows_a_message)))
    takes = min(50, rows // feed.rows_a_message // len(messages))
    seconds, repetitions = [0.0] * 3, 20
    gc.disable()  # the sink hardly lets it run
    for _ in range(repetitions):
        blocks, times = Blocks(Limits(rows=rows + 1)), [time.perf_counter()]
        items = [open_item(feed.topic, 0, key, value) for _ in range(takes) for key, value in messages]
        times.append(time.perf_counter())
        for item in items:
            blocks.add((feed.topic, 0), item, 0.0, 0.0)
        times.append(time.perf_counter())
        blocks.all()
        times.append(time.perf_counter())
        seconds = [so_far + end - begin for so_far, begin, end in zip(seconds, times, times[1:], strict=False)]
    gc.enable()
    opening, adding, judging = (f"{each / repetitions / len(items) * 1e6:.1f} us" for each in seconds)
    return (
        f"a message of {feed.topic}, {len(messages[0][1]):,} bytes for {feed.rows_a_message} rows, takes {opening} to "
        f"open, {adding} to put into its block, {judging} to read and judge there"
    )


@contextmanager
def store() -> Iterator[tuple[str, Child]]:
    """chDB behind its endpoint, empty: URL and process."""
    with tempfile.TemporaryDirectory(prefix="footfall-bench-", ignore_cleanup_errors=True) as temporary:
        command = [sys.executable, "-m", "footfall_cli.embedded_clickhouse", "--data", f"{temporary}/data"]
        environ = {**os.environ, "TMPDIR": temporary}  # noqa: TID251  a child inherits what the benchmark runs in
        child = Child("clickhouse", command, Path(temporary) / "clickhouse.log", environ)
        with running(child):
            port = wait_for_line(child, "ready", 60).split()[1]
            yield f"http://127.0.0.1:{port}", child


@contextmanager
def sinking(kafka: str, url: str, directory: Path, settings: Mapping[str, str]) -> Iterator[tuple[Child, int]]:
    """A sink with these FOOTFALL_* variables and the port of its /metrics, ended with the block."""
    port = free_port()
    options = ("--clickhouse", url, "--bootstrap", kafka, "--metrics-port", str(port))
    environ = {**os.environ, **settings}  # noqa: TID251  a child inherits what the benchmark runs in
    with running(Child("sink", footfall("sink", *options), directory / "sink.log", environ)) as child:
        yield child, port


@dataclass(frozen=True)
class _Bench:
    """Where everything runs."""

    kafka: EmbeddedKafka
    directory: Path
    url: str
    database: Child

    def start_up(self, repetitions: int) -> Spent:
        """The quickest sink of a topic of one message, which is inserted at once: nothing but starting."""
        case = Case("start-up", (Feed(topics.VISITS.name, 1, 1),))
        self.fill(case)
        runs = [Spent() for _ in range(repetitions)]
        for spent in runs:
            self.sink(case, spent, {"FOOTFALL_SINK_IDLE_MS": "10"})
        return min(runs, key=lambda spent: spent.whole_s)

    def fill(self, case: Case) -> None:
        renew(self.kafka.bootstrap, list(TARGETS))
        for feed in case.feeds:
            fill(self.kafka.bootstrap, feed.topic, feed.encoded())

    def measure(self, case: Case, start: Spent, repetitions: int, say: Say) -> tuple[list[Figure], Target]:
        """Figures of the sink and of bare inserts on the same rows."""
        self.fill(case)
        limits, spent = Limits(), Spent()
        # Of a message that fills the block all rows are taken.
        blocks = [
            (TARGETS[feed.topic].table, table)
            for feed in case.feeds
            for table in feed.blocks(-(-limits.rows // feed.rows_a_message) * feed.rows_a_message, PARTITIONS)
        ]
        say(f"{case.name}: {case.rows:,} rows in {case.messages:,} messages")
        answers: dict[str, Any] = {}

        def checked(name: str, seconds: Callable[[], float]) -> float:
            rate = case.rows / seconds()
            answers[name] = self.contents(case)
            assert len({*answers.values()}) == 1, f"{case.name}: the tables differ: {answers}"
            return rate

        contenders: dict[str, Callable[[], float]] = {
            SINK: lambda: checked(SINK, lambda: self.sink(case, spent) - start.whole_s[0]),
            BARE: lambda: checked(BARE, lambda: self.bare(blocks)),
        }
        measured = alternate(contenders, repetitions, say, _UNIT)
        cost = spent.a_million(case.rows, start)
        remark = (
            f"processor s a million rows: sink {cost.sink_s:.2f}, ClickHouse {cost.database_s:.2f}, "
            f"Kafka {cost.kafka_s:.2f}"
        )
        whole = tuple(case.rows / seconds for seconds in spent.whole_s)
        figures = [
            Figure(case.name, SINK, _UNIT, measured[SINK], remark),
            Figure(case.name, SINK_WITH_START, _UNIT, whole, f"start-up {start.whole_s[0]:.2f} s"),
            Figure(case.name, BARE, _UNIT, measured[BARE]),
        ]
        sink, bare = figures[0].median, figures[-1].median
        target = at_least(f"share of bare insert_arrow ({case.name})", 0.6, sink / bare, _why(case, bare, cost))
        return figures, target

    def sink(self, case: Case, spent: Spent, settings: Mapping[str, str] = MappingProxyType({})) -> float:
        """Seconds from starting the process until the last row is inserted; its tables are new."""
        self.new_tables()
        environ = {**settings, "FOOTFALL_SINK_GROUP": f"bench-{next(_NUMBERS)}"}
        others = pid_of(self.database), pid_of(self.kafka.child)
        before = [cpu_s(pid) for pid in others]
        began = time.monotonic()
        with sinking(self.kafka.bootstrap, self.url, self.directory, environ) as (child, port):
            # To answer takes the sink some milliseconds: it is asked often only once little is left.
            while (left := case.rows - counter(port, "footfall_sinks_rows_total")) > 0:
                assert child.exit_code() is None, child.tail()
                assert time.monotonic() < began + _WAIT_S, f"the sink is not done after {_WAIT_S} s:\n{child.tail()}"
                time.sleep(0.15 if left > _LITTLE else 0.03)
            seconds = time.monotonic() - began
            spent.whole_s.append(seconds)
            spent.sink_s += cpu_s(pid_of(child))
            spent.client_s += cpu_of_threads_s(pid_of(child), "rdk:")
            database_s, kafka_s = (cpu_s(pid) - so_far_s for pid, so_far_s in zip(others, before, strict=True))
            spent.database_s += database_s
            spent.kafka_s += kafka_s
        return seconds

    def bare(self, blocks: Sequence[tuple[str, Any]]) -> float:
        """Seconds of inserting the blocks one after the other, through the sink's own client, into new tables."""
        self.new_tables()
        with closing(ClickHouseStore(self.url)) as client:
            client.connect()
            began = time.monotonic()
            for table, rows in blocks:
                client.insert(table, rows)
            return time.monotonic() - began

    def new_tables(self) -> None:
        with self.client() as client:
            client.command("DROP DATABASE IF EXISTS footfall")
            apply_schema(client, None)

    def contents(self, case: Case) -> tuple[tuple[str, int, int], ...]:
        """Rows of every table, as many as were sent, and the sum of their hashes."""
        found = []
        with self.client() as client:
            for feed in case.feeds:
                table = TARGETS[feed.topic].table
                rows, sums = client.query(
                    f"SELECT count(), sum(cityHash64(tuple(*))) FROM footfall.{table}"
                ).result_rows[0]
                assert rows == feed.rows, f"{table} holds {rows:,} rows of {feed.rows:,}"
                found.append((table, rows, sums))
        return tuple(found)

    @contextmanager
    def client(self) -> Iterator[Client]:
        with closing(open_client(self.url)) as client:
            yield client
