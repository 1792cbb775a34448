"""Small random worlds of sightings, as messages of `sightings.v1`, and the tables a run of the job leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from random import Random
from typing import Any

import pyarrow as pa
from footfall_events.rows import decode_rows
from footfall_events.schemas import SIGHTINGS, STORE_MINUTES, TIMESTAMP, VISITS
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.stores import ChainConfig, parse_chain
from footfall_events.topics import DEAD_LETTERS
from footfall_events.topics import STORE_MINUTES as STORE_MINUTES_TOPIC
from footfall_events.topics import VISITS as VISITS_TOPIC
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.step import Step

Row = dict[str, Any]
START_MS = 1_767_571_200_000 + 3 * 3_600_000  # 2026-01-05 03:00 UTC, an hour before the cut-over

STORE: Row = {
    "id": "s",
    "sensors": ["a", "b"],
    "time_zone": "UTC",
    "cutover": time(4),
    "opening": {"daily": "02:00-23:00"},
    "revision_horizon_s": 86_400,
}
"""One store as its TOML table: the job gets it parsed, the oracle as it is."""


def chain(**changes: Any) -> ChainConfig:
    """The store above, with changes, as the job takes it."""
    return parse_chain({"stores": [{**STORE, **changes}]})


@dataclass(frozen=True)
class Sighting:
    """One burst; `device` stands for both the address and its pseudonym."""

    sensor: str
    device: int
    observed_ms: int
    span_ms: int
    rssi_dbm: int | None
    address_class: int = 1

    def oracle_row(self, epoch: int) -> Row:
        """The same for the oracle; its address names the pseudonym that `pseudonym` reads back."""
        return {
            "mac": f"{self.device} {epoch}",
            "observed_ms": self.observed_ms,
            "span_ms": self.span_ms,
            "rssi_dbm": self.rssi_dbm,
            "address_class": self.address_class,
        }


def pseudonym(mac: str, day: date) -> tuple[int, int]:
    """Device and key epoch of an oracle row's address, whatever the day."""
    device, epoch = mac.split()
    return int(device), int(epoch)


@dataclass(frozen=True)
class SentBatch:
    """One batch of a sensor, before it has an offset."""

    sensor: str
    seq: int
    clock_ms: int
    sightings: tuple[Sighting, ...]
    final: bool = False
    store: str = "s"
    boot: str = "boot"
    epoch: int = 1

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What makes the batch recognisable among all stores'."""
        return self.store, self.sensor, self.boot, self.seq

    def value(self) -> bytes:
        columns = [
            pa.array([one.device for one in self.sightings], pa.uint64()),
            pa.array([one.observed_ms for one in self.sightings], pa.int64()).cast(TIMESTAMP),
            pa.array([one.span_ms for one in self.sightings], pa.uint16()),
            pa.array([one.rssi_dbm for one in self.sightings], pa.int8()),
            pa.array([1] * len(self.sightings), pa.uint16()),
            pa.array([2412] * len(self.sightings), pa.uint16()),
            pa.array([one.address_class for one in self.sightings], pa.int8()),
            pa.array([1] * len(self.sightings), pa.uint8()),
        ]
        header = BatchHeader(
            self.store, self.sensor, self.boot, self.seq, self.clock_ms, self.epoch, "test", self.final
        )
        return encode_sightings(header, pa.RecordBatch.from_arrays(columns, schema=SIGHTINGS))


@dataclass(frozen=True)
class World:
    """Stores as their TOML tables, the partition of each, and their batches in the order of the log."""

    stores: tuple[Row, ...]
    partitions: Mapping[str, int]
    batches: tuple[SentBatch, ...]

    def chain(self) -> ChainConfig:
        return parse_chain({"stores": list(self.stores)})

    def partition_of(self, key: bytes) -> int:
        return self.partitions[key.decode()]

    def log(self) -> list[Message]:
        return messages(self.batches, self.partitions)

    def with_batches(self, batches: Iterable[SentBatch]) -> World:
        """The same stores with another log."""
        return replace(self, batches=tuple(batches))


def world(random: Random, *, hours: float = 2, sightings: int = 60) -> list[SentBatch]:
    """Batches of two sensors in the order they were sent, closed by a final one."""
    end_ms = START_MS + int(hours * 3_600_000)
    heard = []
    for _ in range(sightings):
        # Times cluster on whole minutes and gaps, where the rules have their edges.
        at = START_MS + random.randrange(0, int(hours * 60)) * 60_000 + random.choice((0, 0, 1, 59_999, 30_000))
        heard.append(
            Sighting(
                sensor=random.choice("ab"),
                device=random.randrange(1, 5),
                observed_ms=at,
                span_ms=random.choice((0, 0, 1, 1000, 10_000)),
                rssi_dbm=random.choice((-50, -65, -66, -70, -71, -90, -91, None)),
            )
        )
    batches = []
    for sensor in "ab":
        mine = sorted((one for one in heard if one.sensor == sensor), key=lambda one: one.observed_ms)
        clock, seq = START_MS, 0
        while clock < end_ms + 60_000:
            clock += random.choice((20_000, 60_000, 60_000, 200_000))
            # A burst's row leaves once it has ended, so the clock is past its start.
            part = tuple(one for one in mine if one.observed_ms < clock)
            mine = mine[len(part) :]
            batches.append(SentBatch(sensor, seq, clock, part))
            seq += 1
    batches.sort(key=lambda batch: batch.clock_ms)
    newest = max(batch.clock_ms for batch in batches)
    last = max((b for b in batches if b.sensor == "a"), key=lambda b: b.seq)
    return [*batches, SentBatch("a", last.seq + 1, newest, (), final=True)]


def messages(batches: Iterable[SentBatch], partitions: Mapping[str, int] | None = None) -> list[Message]:
    """The batches as the log holds them, in the order given; offsets count up in each store's partition."""
    ends: Counter[int] = Counter()
    log = []
    for batch in batches:
        partition = partitions[batch.store] if partitions else 0
        log.append(Message(partition, ends[partition], batch.store.encode(), batch.value(), 2**42))
        ends[partition] += 1
    return log


class Tables:
    """What ClickHouse would show: newest version of every key, withdrawn visits and empty minutes left out."""

    def __init__(self) -> None:
        self._visits: dict[tuple[str, int], Row] = {}
        self._minutes: dict[tuple[str, datetime], Row] = {}
        self.dead: list[bytes] = []

    def add(self, step: Step) -> None:
        for output in (output for outputs in step.outputs.values() for output in outputs):
            if output.topic == VISITS_TOPIC.name:
                for row in decode_rows(output.value, VISITS).to_pylist():
                    _newest(self._visits, (row["store_id"], row["visit_id"]), row)
            elif output.topic == STORE_MINUTES_TOPIC.name:
                for row in decode_rows(output.value, STORE_MINUTES).to_pylist():
                    _newest(self._minutes, (row["store_id"], row["minute"]), row)
            elif output.topic == DEAD_LETTERS.name:
                self.dead.append(output.value)

    def visits(self, *, version: bool = True) -> list[Row]:
        alive = [row for row in self._visits.values() if not row["deleted"]]
        return _sorted(alive, "first_seen_at", "visit_id", version)

    def minutes(self, *, version: bool = True) -> list[Row]:
        counts = ("sensors_live", "present", "entries", "exits", "passers_by")
        return _sorted([r for r in self._minutes.values() if any(r[c] for c in counts)], "minute", "minute", version)


def _newest(table: dict[Any, Row], key: Any, row: Row) -> None:
    known = table.get(key)
    # A lower version would lose in ClickHouse, an equal one would be a coin toss, unless the rows are the same.
    assert known is None or known["version"] < row["version"] or known == row, f"{known} and then {row}"
    table[key] = row


def _sorted(rows: list[Row], first: str, second: str, version: bool) -> list[Row]:
    rows = sorted(rows, key=lambda row: (row["store_id"], row[first], row[second]))
    return rows if version else [{k: v for k, v in row.items() if k != "version"} for row in rows]


def run(log: Sequence[Message], cuts: Sequence[int] = (), config: ChainConfig | None = None) -> Tables:
    """The tables after the log was taken in chunks that end at the cuts."""
    job, tables = StoreJob(config or chain(), lambda key: 0), Tables()
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        tables.add(job.take(log[start:end]))
    return tables
