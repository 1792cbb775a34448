"""Sightings a second of one stream worker, the whole job, against the limits and the engines beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from footfall_cli.children import Child, free_port
from footfall_cli.drained import read_all
from footfall_cli.main import footfall
from footfall_events.rows import decode_rows
from footfall_events.schemas import STORE_MINUTES as MINUTE_SCHEMA
from footfall_events.schemas import VISITS as VISIT_SCHEMA
from footfall_events.topics import CHECKPOINTS, SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams.state import OFFSET_KEY, Progress
from numpy.typing import NDArray

from tests.bench.broker import OUTPUTS, broker_process, fill, renew
from tests.bench.peers.run import FLINK, QUIX, QUIX_ARROW, Peer, rate
from tests.bench.processes import counter, cpu_s, pid_of, running
from tests.bench.report import Figure, Report, Say, Target, alternate, at_least
from tests.bench.workload import SESSION, Workload

CORES = len(os.sched_getaffinity(0))
WORKER, WORKERS = "Footfall, one worker", "Footfall, a worker a core"
DECODE, CONSUME = "Faust, decode and sort only", "confluent-kafka, read only"
PEERS: dict[str, tuple[Peer, int]] = {
    "Flink SQL, JSON": (FLINK, 4_000_000),
    "Quix Streams, JSON": (QUIX, 300_000),
    "Quix Streams, our batches": (QUIX_ARROW, 300_000),
}
"""Each with as many sightings as keep it busy for ten seconds and more: what is taken off varies by some seconds."""
_UNIT = "sightings/s"
_WAIT_S = 300.0
_AT_ONCE_S = 0.1


@dataclass(frozen=True)
class Case:
    """One topic as it is fed: a workload, cut into batches of so many rows."""

    workload: Workload
    rows_a_batch: int

    @property
    def chunk(self) -> int:
        """Messages a step at most: the worker's default; fewer of large batches, or two steps would do it all."""
        return 2000 if self.rows_a_batch < 2000 else 500

    @property
    def name(self) -> str:
        return f"{self.workload.stores:,} stores, {self.rows_a_batch:,} rows a batch"


@dataclass
class Spent:
    """What the workers' runs took: processor time of all their threads, Kafka's, and the time from start to end."""

    cpu_s: float = 0.0
    kafka_s: float = 0.0
    whole_s: float = 0.0
    sightings: int = 0

    def __str__(self) -> str:
        millions = self.sightings / 1e6
        return (
            f"{self.sightings / self.whole_s:,.0f} with start-up; a million takes "
            f"{self.cpu_s / millions:.2f} s of processor time, and {self.kafka_s / millions:.2f} s of Kafka's"
        )


def run(quick: bool, say: Say) -> Report:
    """All cases of the worker and its limits."""
    repetitions = 2 if quick else 3
    figures: list[Figure] = []
    for case in cases(quick):
        all_cores = not quick and case.workload.stores == 500
        peers = PEERS if all_cores and case.rows_a_batch == 200 else {}
        figures += measure(case, repetitions, say, all_cores=all_cores, peers=peers)
    return Report("streams", _WORK, tuple(figures), tuple(_targets(figures)))


def cases(quick: bool) -> list[Case]:
    """As many messages as make several whole steps: a last, smaller one would wait for more."""
    size = 800_000 if quick else 4_000_000
    sizes = {20: size // 4, 200: 2 * size, 2000: 3 * size}
    usual = [Case(_chain(500, sightings), rows) for rows, sightings in sizes.items()]
    return usual[:2] if quick else [*usual, *(Case(_chain(stores, size), 200) for stores in (10, 2000))]


def _chain(stores: int, sightings: int) -> Workload:
    return Workload(stores=stores, devices=sightings // 20, sightings=sightings)


_WORK = """
Sightings a second of `footfall stream` that works off a backlog: visits, minutes, revisions, state, one transaction a
step and partition, acknowledgements. The topic is filled before anybody starts; the rate is taken from the end of the
first step to the end of the last full one, or of several workers over the time in which all of them worked, so that
neither start-up nor waiting counts. With 2,000 rows a batch a step takes 500 messages instead of the worker's usual
2,000. The limits are a Faust agent that only decodes the same batches with Arrow and sorts their rows, and a bare
consumer. Flink and Quix Streams find the same sessions and minutes on all cores, as their documentation has it
(tests/bench/peers/README.md), once from a JSON message a sighting; only Quix can read our batches. Everybody's
sessions must equal those worked out from the sightings, and everybody's minutes must hold every one of them. `--quick`
leaves both out.
"""


def _targets(figures: list[Figure]) -> list[Target]:
    of = {(figure.case, figure.contender): figure.median for figure in figures}
    name = "500 stores, 200 rows a batch"
    targets = [
        at_least(
            f"share of a Faust agent that decodes and sorts, {name}",
            0.7,
            of[name, WORKER] / of[name, DECODE],
            "`fold` says what comes to decoding and sorting",
        )
    ]
    flink, quix = of.get((name, "Flink SQL, JSON")), of.get((name, "Quix Streams, JSON"))
    if flink and quix:
        for wanted, case in ((12, name), (25, "500 stores, 2,000 rows a batch")):
            why = (
                f"agents that only decode and sort these batches, one on each of {CORES} cores, would reach "
                f"{CORES * of[case, DECODE] / flink:.1f} times at most; the target leaves workers and Kafka "
                f"{CORES * 1e6 / (wanted * flink):.2f} s of processor time a million sightings together, they take "
                "what stands beside their figure, and `fold` says for what"
            )
            what = f"times Flink SQL on the same cores, {case}"
            targets.append(at_least(what, wanted, of[case, WORKERS] / flink, why))
        targets.append(at_least(f"times Quix Streams on the same cores, {name}", 40, of[name, WORKERS] / quix))
    few, many = (of.get((f"{stores} stores, 200 rows a batch", WORKER)) for stores in ("10", "2,000"))
    if few and many:
        targets.append(at_least("rate at 2,000 stores as a share of that at 10", 0.75, many / few))
    return targets


def measure(
    case: Case, repetitions: int, say: Say, *, all_cores: bool, peers: Mapping[str, tuple[Peer, int]]
) -> list[Figure]:
    """Figures of one worker, of both limits, of a worker a core if wanted, on one topic, and of the peers."""
    by_one, by_all = Spent(), Spent()
    wholes: dict[str, list[float]] = {name: [] for name in peers}
    with broker_process() as (server, directory):
        kafka = server.bootstrap
        renew(kafka, [SIGHTINGS.name])
        count = fill(kafka, SIGHTINGS.name, case.workload.batches(case.rows_a_batch))
        say(f"{case.name}: {count:,} messages of {case.workload.sightings:,} sightings")
        per_message = case.workload.sightings / count

        def work(spent: Spent, processes: int = 1) -> float:
            before = cpu_s(pid_of(server.child))
            try:
                return per_message * worker(kafka, directory, case, count, spent, processes)
            finally:
                spent.kafka_s += cpu_s(pid_of(server.child)) - before

        contenders: dict[str, Callable[[], float]] = {
            WORKER: partial(work, by_one),
            DECODE: lambda: per_message * loop("faust", kafka, count, case.chunk),
            CONSUME: lambda: per_message * loop("consume", kafka, count, case.chunk),
        }
        if all_cores:

            def on_all_cores() -> float:
                try:
                    return work(by_all, CORES)
                except WorkerEnded as ended:  # as its guard has it, while the group forms
                    say(f"once more, for a worker has ended: {ended}")
                    return work(by_all, CORES)

            contenders[WORKERS] = on_all_cores
        for name, (peer, sightings) in peers.items():
            fewer = _chain(case.workload.stores, sightings)
            contenders[name] = partial(rate, peer, kafka, directory, fewer, case.rows_a_batch, wholes[name])
        measured = alternate(contenders, repetitions, say, _UNIT)
    remarks = {name: str(spent) for name, spent in ((WORKER, by_one), (WORKERS, by_all)) if spent.sightings}
    remarks |= {name: f"{median(rates):,.0f} with start-up and warm-up" for name, rates in wholes.items()}
    return [Figure(case.name, name, _UNIT, values, remarks.get(name, "")) for name, values in measured.items()]


def loop(kind: str, kafka: str, count: int, chunk: int) -> float:
    """Messages a second of one of the limits."""
    command = [sys.executable, "-m", "tests.bench.loops", kind, kafka, str(count), str(chunk)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Faust shows a cursor of its own before whatever is printed.
    told = json.loads(done.stdout[done.stdout.index("{") :])
    return float((told["messages"] - told["first"]) / told["seconds"])


class WorkerEnded(RuntimeError):
    """Nobody has started it again, as its supervisor would."""


def worker(kafka: str, directory: Path, case: Case, count: int, spent: Spent, processes: int = 1) -> float:
    """Messages a second of workers that start from nothing, once each of them works; the visits are checked.

    Raises WorkerEnded.
    """
    renew(kafka, OUTPUTS)
    started = time.monotonic()
    with ExitStack() as stack:
        toml, settings = case.workload.toml, {"FOOTFALL_CHUNK_MESSAGES": str(case.chunk)}
        names = [f"stream-{number}" for number in range(processes)]
        workers = [stack.enter_context(working(kafka, directory, toml, name, settings)) for name in names]
        seen = watch(workers, case.workload.sightings)
        spent.whole_s += time.monotonic() - started
        spent.cpu_s += sum(cpu_s(pid_of(one.child)) for one in workers)
        spent.sightings += case.workload.sightings
    steps = progress(kafka)
    assert steps[-1][1] == count, f"{steps[-1][1]} of {count} messages are in checkpoints"
    check_visits(kafka, case.workload)
    if processes > 1:
        return together(seen) * count / case.workload.sightings
    if steps[-1][1] - steps[-2][1] < case.chunk:
        del steps[-1]  # it waited for more
    (began, first), (ended, last) = steps[0], steps[-1]
    return (last - first) / (ended - began)


Curve = list[tuple[float, float]]
"""Monotonic seconds, and what was done by then."""


def watch(workers: Sequence[Working], sightings: int) -> list[Curve]:
    """Of each worker when it had done how many sightings, a point a step, until all are done.

    Raises WorkerEnded, TimeoutError.
    """
    curves: list[Curve] = [[] for _ in workers]
    deadline = time.monotonic() + _WAIT_S
    while sum(curve[-1][1] for curve in curves if curve) < sightings:
        for one, curve in zip(workers, curves, strict=True):
            if one.child.exit_code() is not None:
                raise WorkerEnded(one.child.tail())
            done, now = one.metric("sightings_total"), time.monotonic()
            if done > (curve[-1][1] if curve else 0):
                curve.append((now, done))
        if time.monotonic() > deadline:
            raise TimeoutError(f"{curves} after {_WAIT_S} s:\n{workers[0].child.tail()}")
        time.sleep(0.1)
    return curves


def together(curves: Sequence[Curve]) -> float:
    """Sightings a second of all, from the end of the last one's first step to the end of the first one's last step.

    Each is taken to have worked evenly through its steps: a step that lies across a border counts by its part.
    """
    began, ended = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    assert ended > began, f"the workers did not work side by side: {curves}"
    done = 0.0
    for curve in curves:
        at, count = (np.array(column) for column in zip(*curve, strict=True))
        done += float(np.interp(ended, at, count)) - float(np.interp(began, at, count))
    return done / (ended - began)


@dataclass(frozen=True)
class Working:
    """A running `footfall stream` and what it tells of itself."""

    child: Child
    port: int

    def metric(self, name: str) -> float:
        """One of its numbers, by its name without the prefix; 0 while it does not answer."""
        return counter(self.port, f"footfall_streams_{name}")


def wait_for(workers: Sequence[Working], name: str, value: float, every_s: float = 0.5) -> None:
    """Until a number of theirs adds up to a value; asked seldom, for the answer comes from the workers themselves.

    Raises WorkerEnded, TimeoutError.
    """
    deadline = time.monotonic() + _WAIT_S
    while (found := sum(one.metric(name) for one in workers)) < value:
        for one in workers:
            if one.child.exit_code() is not None:
                raise WorkerEnded(one.child.tail())
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is {found} after {_WAIT_S} s:\n{workers[0].child.tail()}")
        time.sleep(every_s)


@contextmanager
def working(
    kafka: str, directory: Path, toml: str, name: str = "stream", settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Working]:
    """A worker with this configuration and these FOOTFALL_* variables, ended with the block."""
    config = directory / f"{name}.toml"
    config.write_text(toml, encoding="utf-8")
    port = free_port()
    options = ("--config", config, "--bootstrap", kafka, "--metrics-port", str(port))
    child = Child(name, footfall("stream", *options), directory / f"{name}.log", {**os.environ, **settings})  # noqa: TID251
    with running(child):
        yield Working(child, port)


def progress(kafka: str) -> list[tuple[float, int]]:
    """Seconds and messages passed at the end of each step, whose checkpoints, which say when, are written at once."""
    marks = [record for record in read_all(kafka, CHECKPOINTS.name) if record.key == OFFSET_KEY and record.value]
    marks.sort(key=lambda record: record.at_ms)
    reached: dict[int, int] = {}
    steps = []
    for mark in marks:
        reached[mark.partition] = Progress.from_bytes(mark.value or b"").next_offset
        steps.append((mark.at_ms / 1000, sum(reached.values())))
    return [one for one, other in pairwise(steps) if other[0] - one[0] > _AT_ONCE_S] + steps[-1:]


def check_visits(kafka: str, workload: Workload) -> None:
    """The visits that stand are the sessions of the sightings, and the minutes, all final, hold each of them once."""
    visits = _newest(
        [decode_rows(record.value or b"", VISIT_SCHEMA) for record in read_all(kafka, VISITS.name)], "visit_id"
    )
    found = np.zeros(len(visits), SESSION)
    found["store"] = _store_numbers(visits)
    found["device"] = visits.column("device_id").to_numpy()
    found["first"] = visits.column("first_seen_at").cast(pa.int64()).to_numpy()
    found["last"] = visits.column("last_seen_at").cast(pa.int64()).to_numpy()
    found["sightings"] = visits.column("sightings").to_numpy()
    assert np.array_equal(np.sort(found), workload.sessions), "visits differ from the sessions of the sightings"
    rows = [decode_rows(record.value or b"", MINUTE_SCHEMA) for record in read_all(kafka, STORE_MINUTES.name)]
    minutes = _newest(rows, "minute")
    counted = np.bincount(_store_numbers(minutes), _int(minutes, "entries") + _int(minutes, "passers_by"))
    assert np.array_equal(counted, np.bincount(workload.sessions["store"])), "minutes miss visits"
    assert minutes.column("is_final").to_numpy().all(), "a minute is not final though its store's last batch was"


def _newest(batches: list[pa.RecordBatch], key: str) -> pa.Table:
    """The newest row of each store and key, those withdrawn left out."""
    table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches])
    order = table.sort_by([("store_id", "ascending"), (key, "ascending"), ("version", "ascending")])
    keys = order.column(key).cast(pa.int64(), safe=False).to_numpy()
    last = np.append((keys[1:] != keys[:-1]) | np.diff(_store_numbers(order)).astype(bool), True)
    if "deleted" in order.column_names:
        last &= order.column("deleted").to_numpy() == 0
    return order.filter(pa.array(last))


def _store_numbers(table: pa.Table) -> NDArray[np.int64]:
    encoded = table.column("store_id").combine_chunks().dictionary_encode()
    numbers = np.array([int(name.rpartition("-")[2]) for name in encoded.dictionary.to_pylist()], np.int64)
    stores: NDArray[np.int64] = numbers[encoded.indices.to_numpy()]
    return stores


def _int(table: pa.Table, column: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table.column(column).to_numpy().astype(np.int64)
    return values
