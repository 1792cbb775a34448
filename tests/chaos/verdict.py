"""What the tables must be, from what the sensors sent and the oracle's rules, and how ClickHouse's differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
from footfall_cli.deadletters import Record

from tests.oracle.compare import from_query, keyed_differences, report
from tests.oracle.minutes import store_minutes
from tests.oracle.store_settings import Row
from tests.oracle.visits import visits_of
from tests.pipeline.tables import SENSOR_MINUTES, STORE_MINUTES, VISITS

_SIGHTING = ("rssi_dbm", "span_ms", "frames", "freq_mhz", "address_class", "frame_kinds")
_VISIT_TIMES = ("first_seen_at", "last_seen_at", "entered_at", "left_at")


@dataclass
class Sent:
    """What `sightings.v1` holds: every batch once, by sensor and boot."""

    stores: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    clocks: dict[str, dict[str, list[int]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    sequences: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0

    def add(self, value: bytes) -> None:
        """Take one batch, unless it is a repetition."""
        with pa.ipc.open_stream(value) as reader:
            (batch,) = list(reader)
        header = {name.decode(): text.decode() for name, text in (batch.schema.metadata or {}).items()}
        boot, sequence = (header["sensor_id"], header["boot_id"]), int(header["batch_seq"])
        if sequence in self.sequences[boot]:
            self.repeats += 1
            return
        self.sequences[boot].append(sequence)
        self.clocks[header["store_id"]][header["sensor_id"]].append(int(header["sensor_clock_ms"]))
        observed = batch.column("observed_at").cast(pa.int64()).to_pylist()
        # A device is known by its pseudonym here: the pair of key epoch and id stands where the oracle has an address.
        names = [f"{header['key_epoch']}/{device}" for device in batch.column("device_id").to_pylist()]
        columns = {name: batch.column(name).to_pylist() for name in _SIGHTING}
        for number, observed_ms in enumerate(observed):
            row = {name: values[number] for name, values in columns.items()}
            self.stores[header["store_id"]].append({**row, "mac": names[number], "observed_ms": observed_ms})

    def missing(self) -> int:
        """Batches that are absent though later ones of their boot are there."""
        return sum(max(found) + 1 - len(found) for found in self.sequences.values())

    def out_of_order(self, unordered: str) -> int:
        """Batches that came before a predecessor, but for the boot that is known to deliver badly."""
        return sum(found != sorted(found) for (_, boot), found in self.sequences.items() if boot != unordered)


def _known(name: str, day: date) -> tuple[int, int]:
    epoch, device = name.split("/")
    return int(device), int(epoch)


DAMAGE = (
    *("visits_lost", "visits_duplicated", "visits_different", "minutes_different", "minutes_duplicated"),
    *("batches_missing", "batches_out_of_order", "dead_letters_different"),
)


@dataclass
class Verdict:
    """Counts of differences; an exact run has none."""

    sightings: int = 0
    visits_lost: int = 0
    visits_duplicated: int = 0
    visits_different: int = 0
    minutes_different: int = 0
    minutes_duplicated: int = 0
    batches_missing: int = 0
    batches_out_of_order: int = 0
    dead_letters_different: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def damage(self) -> dict[str, int]:
        """What differs, and in how many rows."""
        return {name: getattr(self, name) for name in DAMAGE if getattr(self, name)}

    @property
    def is_exact(self) -> bool:
        return not self.damage


def judge(
    sent: Sent, stores: dict[str, Row], query: Callable[[str], list[Row]], sensor_minutes: Iterable[Row]
) -> Verdict:
    """Compare ClickHouse's tables with the oracle's, cell by cell."""
    verdict = Verdict(sum(len(rows) for rows in sent.stores.values()))
    visits: list[Row] = []
    minutes: list[Row] = []
    for store_id, rows in sent.stores.items():
        of_store = visits_of(rows, stores[store_id], _known)
        visits += of_store
        minutes += store_minutes(of_store, sent.clocks[store_id], stores[store_id])
    wanted = {row["visit_id"]: row for row in visits}
    found: dict[int, Row] = {}
    for row in from_query(query(VISITS), _VISIT_TIMES):
        verdict.visits_duplicated += row["visit_id"] in found or row["visit_id"] not in wanted
        found[row["visit_id"]] = row
    verdict.visits_lost = len(wanted.keys() - found.keys())
    for visit_id in wanted.keys() & found.keys():
        different = [name for name, value in wanted[visit_id].items() if found[visit_id][name] != value]
        verdict.visits_different += bool(different)
        verdict.details += [f"visit {visit_id}: {name}" for name in different]
    got = from_query(query(STORE_MINUTES), ("minute",))
    cells = keyed_differences(minutes, got, ("store_id", "minute_ms"), list(minutes[0]))
    radio = [_rounded(row) for row in from_query(query(SENSOR_MINUTES), ("minute",))]
    summed = sum_of_boots(sensor_minutes)
    cells += keyed_differences(summed, radio, ("store_id", "sensor_id", "minute_ms"), list(summed[0]))
    verdict.minutes_different = len(cells)
    verdict.details += [report("minutes", cells)] if cells else []
    return verdict


def repeated_rows(messages: Iterable[Record], key: Sequence[str]) -> int:
    """Rows that were committed twice: same key and version, which no two messages of a store share."""
    seen: Counter[tuple[object, ...]] = Counter()
    for message in messages:
        table = pa.ipc.open_stream(message.value).read_all()
        seen.update(zip(*(table.column(name).to_pylist() for name in (*key, "version")), strict=True))
    return sum(count - 1 for count in seen.values())


def sum_of_boots(rows: Iterable[Row]) -> list[Row]:
    """Sensor minutes as people see them: each boot's row once, the boots of one minute summed."""
    once = {(row["sensor_id"], row["boot_id"], row["minute"]): row for row in rows}
    total: dict[tuple[Any, ...], Row] = {}
    for row in once.values():
        plain = {name: value for name, value in row.items() if name not in ("boot_id", "minute")}
        minute_ms = int(row["minute"].timestamp() * 1000)
        key = (row["sensor_id"], minute_ms)
        if key not in total:
            total[key] = {"minute_ms": minute_ms, **plain}
            continue
        for name, value in plain.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                total[key][name] += value
    return [_rounded(row) for row in total.values()]


def _rounded(row: Row) -> Row:
    # A sum of floats depends on its order; the collector counts in milliseconds.
    return {**row, "listening_s": round(row["listening_s"], 3)}
