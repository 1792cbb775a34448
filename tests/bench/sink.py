"""Rows a second of the sink's process, from full Kafka topics into ClickHouse's engine, against bare inserts."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clickhouse_connect.driver.client import Client
from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.main import footfall
from footfall_events import topics
from footfall_sinks.batch import TARGETS, Limits
from footfall_sinks.clickhouse import ClickHouseStore, open_client
from footfall_sinks.migrate import apply_schema

from tests.bench.broker import PARTITIONS, broker, fill, renew
from tests.bench.processes import counter, cpu_s, pid_of, running
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

_WHY = (
    "a message costs the sink 20 to 35 us of processor time however few rows it holds, as the differences between the "
    "processor times of the cases say; for what is not measured call by call"
)


@dataclass(frozen=True)
class Case:
    """What fills the topics."""

    name: str
    feeds: tuple[Feed, ...]

    @property
    def rows(self) -> int:
        return sum(feed.rows for feed in self.feeds)


@dataclass
class Spent:
    """Seconds of each run with start-up, and processor time, by process."""

    whole_s: list[float] = field(default_factory=list)
    sink_s: float = 0.0
    database_s: float = 0.0


def run(quick: bool, say: Say) -> Report:
    """All cases."""
    repetitions = 2 if quick else 5
    cases = [_visits(500_000, 500)]
    if not quick:
        cases = [_visits(4_000_000, 2000), _visits(4_000_000, 500), _visits(3_000_000, 50), _afternoon(2_000_000)]
    figures: list[Figure] = []
    with store() as (url, database), broker() as (kafka, directory):
        renew(kafka, [topics.DEAD_LETTERS.name])
        bench = _Bench(kafka, directory, url, database)
        start = bench.start_up(2 if quick else 3)
        say(f"start-up {start.whole_s[0]:.2f} s")
        for case in cases:
            figures += bench.measure(case, start, repetitions, say)
    return Report("sink", _WORK, tuple(figures), tuple(_targets(figures)))


def _visits(rows: int, each: int) -> Case:
    return Case(f"visits, {each:,} rows a message", (Feed(topics.VISITS.name, rows, each),))


def _afternoon(rows: int) -> Case:
    minutes = rows // 20
    return Case(
        "all three topics, 200 visits, 20 store minutes and 1 sensor minute a message",
        (
            Feed(topics.VISITS.name, rows // 2, 200),
            Feed(topics.STORE_MINUTES.name, minutes, 20),
            Feed(topics.SENSOR_MINUTES.name, minutes, 1),
        ),
    )


def _targets(figures: Sequence[Figure]) -> list[Target]:
    of = {(figure.case, figure.contender): figure.median for figure in figures}
    cases = dict.fromkeys(figure.case for figure in figures)
    return [
        at_least(f"share of bare insert_arrow ({case})", 0.6, of[case, SINK] / of[case, BARE], _WHY) for case in cases
    ]


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

    kafka: str
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
        renew(self.kafka, list(TARGETS))
        for feed in case.feeds:
            fill(self.kafka, feed.topic, feed.encoded())

    def measure(self, case: Case, start: Spent, repetitions: int, say: Say) -> list[Figure]:
        """Figures of the sink and of bare inserts on the same rows."""
        self.fill(case)
        limits, spent = Limits(), Spent()
        # Of a message that fills the block all rows are taken.
        blocks = [
            (TARGETS[feed.topic].table, table)
            for feed in case.feeds
            for table in feed.blocks(-(-limits.rows // feed.rows_a_message) * feed.rows_a_message, PARTITIONS)
        ]
        say(f"{case.name}: {case.rows:,} rows in {sum(feed.messages for feed in case.feeds):,} messages")
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
        runs = len(spent.whole_s)
        sink_s, database_s = spent.sink_s / runs - start.sink_s, spent.database_s / runs - start.database_s
        millions = case.rows / 1e6
        remark = f"processor s a million rows: sink {sink_s / millions:.2f}, ClickHouse {database_s / millions:.2f}"
        whole = tuple(case.rows / seconds for seconds in spent.whole_s)
        return [
            Figure(case.name, SINK, _UNIT, measured[SINK], remark),
            Figure(case.name, SINK_WITH_START, _UNIT, whole, f"start-up {start.whole_s[0]:.2f} s"),
            Figure(case.name, BARE, _UNIT, measured[BARE]),
        ]

    def sink(self, case: Case, spent: Spent, settings: Mapping[str, str] = MappingProxyType({})) -> float:
        """Seconds from starting the process until the last row is inserted; its tables are new."""
        self.new_tables()
        environ = {**settings, "FOOTFALL_SINK_GROUP": f"bench-{next(_NUMBERS)}"}
        before_s = cpu_s(pid_of(self.database))
        began = time.monotonic()
        with sinking(self.kafka, self.url, self.directory, environ) as (child, port):
            # Asked seldom enough that answering costs the sink nothing, often enough for a per cent.
            while counter(port, "footfall_sinks_rows_total") < case.rows:
                assert child.exit_code() is None, child.tail()
                assert time.monotonic() < began + _WAIT_S, f"the sink is not done after {_WAIT_S} s:\n{child.tail()}"
                time.sleep(0.03)
            seconds = time.monotonic() - began
            spent.whole_s.append(seconds)
            spent.sink_s += cpu_s(pid_of(child))
            spent.database_s += cpu_s(pid_of(self.database)) - before_s
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
