"""From the broker's append of a batch to the rows that it completes being answered by SQL, at a steady rate."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

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
_LINGERS_S = 15
_WORK = f"""
Sensors of {STORES} stores send a batch a second each, on this machine's clock, for so many sightings a second in all;
the worker, the sink and chDB behind its endpoint take them in, all on the same cores as Kafka and the sensors. The
version of a row names the batch that completed its minute or closed its visit, and the broker says when that one was
appended. Every {_ASK_EVERY_S:g} s both tables are asked for what is new: the latency of a row ends when the answer
that shows it has come. Rows of the first 20 seconds do not count. At the end all stores are closed, and there must be
a visit for every stay, with all sightings in them.
"""

_WHY = (
    "a step gathers for 250 ms and a block of the sink waits for up to 500; when all stores publish a minute, some "
    "thirty blocks wait for each other, 20 to 35 ms each, on a store that takes one statement at a time and answers "
    "this benchmark's questions in between"
)


@dataclass
class Watch:
    """When each (table, store, version) was first answered, in epoch seconds."""

    client: Client
    seen: dict[tuple[str, str, int], float] = field(default_factory=dict)

    def until(self, end_s: float) -> None:
        """Look again and again, to this moment in epoch seconds."""
        while wall_s() < end_s:
            self._look()
            time.sleep(_ASK_EVERY_S)

    def _look(self) -> None:
        """Ask for what was touched of late, in one question: the store answers one at a time."""
        rows = self.client.query(
            " UNION ALL ".join(
                f"SELECT DISTINCT '{table}', store_id, version FROM footfall.{table} "
                f"WHERE {instant} > now() - INTERVAL 90 SECOND"
                for table, instant in (("store_minutes_log", "minute"), ("visits_log", "last_seen_at"))
            )
        ).result_rows
        now = wall_s()
        for table, store_id, version in rows:
            self.seen.setdefault((table, store_id, version), now)


def run(quick: bool, say: Say) -> Report:
    """One run a rate, each on a broker and a database of its own."""
    rates, seconds = ((50_000,), 60) if quick else ((10_000, 50_000, 200_000), 90)
    figures: list[Figure] = []
    targets: list[Target] = []
    for rate in rates:
        latencies, cpu, lag, late_s = measure(rate, seconds, say)
        case = f"{rate:,} sightings/s"
        for what, table in (("minute", "store_minutes_log"), ("visit", "visits_log")):
            values = latencies[table]
            for share in (50, 99):
                found = float(np.percentile(values, share))
                say(f"{case}: {what} p{share} {found:.2f} s of {len(values):,}")
                figures.append(Figure(case, f"{what}, p{share}", "s", (found,), f"{len(values):,} batches"))
                if (rate, share) == (50_000, 99):
                    targets.append(at_most(f"p99 of a {what} at {case}", 2, found, _WHY))
        used = ", ".join(f"{name} {share:.0%}" for name, share in cpu.items())
        figures.append(Figure(case, "left to do at the end", "sightings", (lag,), f"latest batch {late_s:.2f} s late"))
        figures.append(Figure(case, "processors used", "cores", (sum(cpu.values()),), used))
        say(f"{case}: {used}; {lag:,} sightings left to do")
    return Report("end_to_end", _WORK, tuple(figures), tuple(targets))


def measure(rate: int, seconds: int, say: Say) -> tuple[dict[str, list[float]], dict[str, float], int, float]:
    """Latencies by table, cores used by process, sightings behind when the sensors stopped, their own lateness."""
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
                sensors.communicate("end\n", timeout=60)
            _check(client, sent, say)
        appended = _appended(kafka)
    return _latencies(watch, appended, began + 20), cpu, lag, sent["latest_s"]


def _latencies(watch: Watch, appended: Mapping[tuple[int, int], float], after: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"store_minutes_log": [], "visits_log": []}
    for (table, store_id, version), seen in watch.seen.items():
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
