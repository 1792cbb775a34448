"""From the broker's append of a batch to the rows that it completes being answered by SQL, at a steady rate."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from clickhouse_connect.driver.client import Client
from footfall_cli.log_reader import read_log, spans_of
from footfall_events.topics import SIGHTINGS
from footfall_sinks.batch import TARGETS
from footfall_sinks.clickhouse import open_client
from footfall_sinks.migrate import apply_schema
from footfall_streams.partitioning import partition_of

from tests.bench.broker import OUTPUTS, PARTITIONS, broker_process, renew
from tests.bench.live import STORES, chain_toml
from tests.bench.processes import cpu_s, pid_of, wall_s
from tests.bench.report import Figure, Report, Say, Target, at_most
from tests.bench.sink import sinking, store
from tests.bench.streams import wait_for, working

_OFFSETS = 2**48 - 1
_ASK_EVERY_S = 0.1
_RATE = 50_000
_SECONDS, _QUICK_SECONDS = 90, 75
"""A run; the first 20 do not count, and a minute is to end after them."""
_LINGERS_S = 15
_WORK = f"""
Sensors of {STORES} stores send a batch a second each, on this machine's clock, for so many sightings a second in all;
the worker, the sink and chDB behind its endpoint take them in, all on the same cores as Kafka and the sensors. The
version of a row names the batch that completed its minute or closed its visit, and the broker says when that one was
appended. Every {_ASK_EVERY_S:g} s both tables are asked for each store's newest version: the latency of a row ends
when the answer that shows it, or a newer one of its store, has come. Rows of the first 20 seconds do not count. At the
end all stores are closed, and there must be a visit for every stay, with all sightings in them.
"""

_WHY = (
    "a step gathers for 250 ms and a block of the sink waits for up to 500, on a store that takes one statement at a "
    "time and answers this benchmark's questions in between"
)
_TABLES = {"store_minutes_log": ("minute", "minute"), "visits_log": ("visit", "last_seen_at")}
"""What a row of each stands for, and the column that says when that was."""


@dataclass
class Watch:
    """By table and store: the newest version at each moment, epoch seconds, at which there was a newer one.

    A store's rows are inserted in the order of their versions: who sees one sees all before it. So a look costs the
    store an aggregate, and a row of the answer for each store, whatever was inserted since the last one.
    """

    client: Client
    newest: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def until(self, end_s: float) -> None:
        """Look again and again, to this moment in epoch seconds."""
        while wall_s() < end_s:
            self._look()
            time.sleep(_ASK_EVERY_S)

    def _look(self) -> None:
        """Ask for what was touched of late, in one question: the store answers one at a time."""
        rows = self.client.query(
            " UNION ALL ".join(
                f"SELECT '{table}', store_id, max(version) FROM footfall.{table} "
                f"WHERE {instant} > now() - INTERVAL 90 SECOND GROUP BY store_id"
                for table, (_, instant) in _TABLES.items()
            )
        ).result_rows
        now = wall_s()
        for table, store_id, version in rows:
            found = self.newest[table, store_id]
            if not found or found[-1][0] < version:
                found.append((version, now))

    def seen(self) -> Iterator[tuple[str, str, int, float]]:
        """Table, store and version of every row there is by now, and when it was first seen."""
        for table in _TABLES:
            rows = self.client.query(f"SELECT DISTINCT store_id, version FROM footfall.{table}").result_rows
            for store_id, version in rows:
                newest = self.newest[table, store_id]
                place = bisect_left(newest, (version, 0.0))
                if place < len(newest):
                    yield table, store_id, version, newest[place][1]


def run(quick: bool, say: Say) -> Report:
    """Each run on a broker and a database of its own; three of the rate that has a target."""
    figures: list[Figure] = []
    targets: list[Target] = []
    for rate, times in ((_RATE, 1),) if quick else ((10_000, 1), (_RATE, 3), (200_000, 1)):
        case = f"{rate:,} sightings/s"
        runs = [measure(rate, _QUICK_SECONDS if quick else _SECONDS, say) for _ in range(times)]
        for table, (what, _) in _TABLES.items():
            rows = sum(len(one.latencies[table]) for one in runs)
            for share in (50, 99):
                found = tuple(float(np.percentile(one.latencies[table], share)) for one in runs)
                figures.append(Figure(case, f"{what}, p{share}", "s", found, f"{rows:,} batches"))
                if (rate, share) == (_RATE, 99):
                    targets.append(at_most(f"p99 of a {what} at {case}", 2, median(found), _WHY))
        late = f"latest batch {max(one.late_s for one in runs):.2f} s late"
        figures.append(Figure(case, "left to do at the end", "sightings", tuple(one.lag for one in runs), late))
        cpu = {name: median(one.cpu[name] for one in runs) for name in runs[0].cpu}
        used = ", ".join(f"{name} {share:.0%}" for name, share in cpu.items())
        figures.append(Figure(case, "processors used", "cores", tuple(sum(one.cpu.values()) for one in runs), used))
    return Report("end_to_end", _WORK, tuple(figures), tuple(targets))


@dataclass(frozen=True)
class Run:
    """What one run took: latencies in s by table, cores by process, what the worker had before it when the sensors
    stopped, and how late these were themselves."""

    latencies: Mapping[str, list[float]]
    cpu: Mapping[str, float]
    lag: int
    late_s: float


def measure(rate: int, seconds: int, say: Say) -> Run:
    """One run."""
    with (
        broker_process() as (broker, directory),
        store() as (url, database),
        closing(open_client(url)) as client,
    ):
        kafka = broker.bootstrap
        renew(kafka, list(dict.fromkeys([SIGHTINGS.name, *OUTPUTS, *TARGETS])))
        apply_schema(client, None)
        with (
            working(kafka, directory, chain_toml()) as worker,
            sinking(kafka, url, directory, {}) as (sink, _),
        ):
            wait_for([worker], "partitions", PARTITIONS)
            processes = {"worker": pid_of(worker.child), "sink": pid_of(sink)}
            processes |= {"ClickHouse": pid_of(database), "Kafka": pid_of(broker.child)}
            with _sensors(kafka, rate, seconds) as sensors:
                assert sensors.stdout is not None
                processes["sensors"] = sensors.pid
                watch, began = Watch(client), wall_s()
                before = {name: cpu_s(pid) for name, pid in processes.items()}
                watch.until(began + seconds)
                cpu = {name: (cpu_s(pid) - before[name]) / (wall_s() - began) for name, pid in processes.items()}
                sent = json.loads(sensors.stdout.readline())
                lag = int(sent["sightings"] - worker.metric("sightings_total"))
                watch.until(began + seconds + _LINGERS_S)
                seen = list(watch.seen())
                sensors.communicate("end\n", timeout=60)
            _check(client, sent, say)
        appended = _appended(kafka)
    latencies = _latencies(seen, appended, began + 20)
    for table, (what, _) in _TABLES.items():
        p50, p99 = np.percentile(latencies[table], (50, 99))
        say(f"{rate:,} sightings/s: {what} p50 {p50:.2f} s, p99 {p99:.2f} s; {lag:,} sightings left to do")
    return Run(latencies, cpu, lag, sent["latest_s"])


def _latencies(
    rows: Iterable[tuple[str, str, int, float]], appended: Mapping[tuple[int, int], float], after: float
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {table: [] for table in _TABLES}
    for table, store_id, version, seen in rows:
        at = appended[partition_of(store_id.encode(), PARTITIONS), version & _OFFSETS]
        if at > after:
            found[table].append(seen - at)
    return found


def _sensors(kafka: str, rate: int, seconds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.live", kafka, str(rate), str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _check(client: Client, sent: Mapping[str, int], say: Say) -> None:
    """Wait for the visits of all stays."""
    ask = "SELECT count(), sum(sightings) FROM footfall.visits"
    wanted, deadline = (sent["stays"], sent["sightings"]), time.monotonic() + 120
    while (found := client.query(ask).result_rows[0]) != wanted:
        assert time.monotonic() < deadline, f"{found} visits and sightings instead of {wanted}"
        time.sleep(0.5)
    say(f"{wanted[0]:,} visits of {wanted[1]:,} sightings, as sent")


def _appended(kafka: str) -> dict[tuple[int, int], float]:
    """When the broker appended each (partition, offset) of the sightings, epoch seconds."""
    spans = spans_of(kafka, SIGHTINGS.name)
    return {(one.partition, one.offset): one.at_ms / 1000 for one in read_log(kafka, SIGHTINGS.name, spans)}
