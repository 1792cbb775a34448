"""A chain whose truth is known: capture files as its sensors would write them, and who was really there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from footfall_events.business_days import date_of, day_number
from footfall_events.errors import ConfigError
from footfall_events.schemas import TIMESTAMP
from footfall_events.stores import PrivacyPolicy, StoreConfig, load_chain

from footfall_cli import simulator_truth as truth
from footfall_cli.simulator_frames import PCAP_HEADER, write_frames
from footfall_cli.simulator_people import Attendance, Being, Crowd, Day, Phone, attendance
from footfall_cli.simulator_radio import FIRST_MALFORMED, Frames, heard, sent
from footfall_cli.simulator_site import (
    DEFAULT_POLICY,
    MAX_STORES,
    SENSOR_NAMES,
    Site,
    site,
    write_config,
)

_Tables = dict[str, list[dict[str, Any]]]
Progress = Callable[[int, int | None], None]
"""Called with the store-days made so far and how many there are."""

_KEYS = [("store_id", pa.string()), ("business_date", pa.date32())]
PEOPLE = pa.schema(
    [
        *_KEYS,
        ("person_id", pa.int64()),
        ("kind", pa.string()),
        ("entered_at", TIMESTAMP),
        ("left_at", TIMESTAMP),
        ("device", pa.string()),
        ("stable", pa.bool_()),
    ]
)
"""Every person-visit. `device` is global, guest or random; `stable`: may be recognised once heard."""

PRESENCES = pa.schema(
    [
        *_KEYS,
        ("person_id", pa.int64()),
        ("first_seen_at", TIMESTAMP),
        ("last_seen_at", TIMESTAMP),
        ("entered_at", TIMESTAMP),
        ("left_at", TIMESTAMP),
        ("dwell_s", pa.int64()),
        ("sightings", pa.int64()),
        ("rssi_max_dbm", pa.int64()),
        ("role", pa.string()),
    ]
)
"""Every presence that the visit rule finds in the frames written; times are the sensors' clocks."""

_COUNTS = ("true_visitors", "true_new", "true_repeat", "true_passers_by", "true_staff")
_HEARD = (
    *("heard_visitors", "heard_visits", "heard_bounced", "heard_passers_by", "heard_staff_or_fixed"),
    *("heard_new", "heard_repeat"),
)
STORE_DAYS = pa.schema(
    [
        *_KEYS,
        *((name, pa.int64()) for name in _COUNTS),
        ("true_mean_dwell_s", pa.float64()),
        *((name, pa.int64()) for name in _HEARD),
        ("heard_mean_dwell_s", pa.float64()),
        ("heard_median_dwell_s", pa.float64()),
    ]
)
"""`true_*` counts people, whatever they carry; `heard_*` what stable phones gave away to the sensors."""

SENSORS = pa.schema(
    [
        *_KEYS,
        ("sensor_id", pa.string()),
        ("frames", pa.int64()),
        ("malformed", pa.int64()),
        ("clock_offset_ms", pa.float64()),
    ]
)
"""Frames in each capture file by business date."""

_TABLES = {"people": PEOPLE, "presences": PRESENCES, "store_days": STORE_DAYS, "sensors": SENSORS}


@dataclass(frozen=True)
class SimulatedChain:
    """Where everything stands; `captures` holds one file for each sensor, by store."""

    directory: Path
    config: Path
    captures: dict[str, tuple[Path, ...]]
    truth: Path

    def table(self, name: str) -> pa.Table:
        """A table of the truth: people, presences, store_days or sensors."""
        return pq.read_table(self.truth / f"{name}.parquet")


def simulate(
    directory: Path,
    *,
    stores: int = 3,
    days: int = 3,
    seed: int = 1,
    start: date = date(2026, 3, 2),
    visitors_per_day: int = 200,
    randomising_share: float = 0.9,
    sensors: int = 2,
    policy: PrivacyPolicy = DEFAULT_POLICY,
    progress: Progress | None = None,
) -> SimulatedChain:
    """Write a chain's captures, `chain.toml` and `truth/`; the same arguments give the same bytes.

    A store's files and rows do not depend on how many stores there are. Memory holds one store's day.
    Raises ConfigError for numbers out of range.
    """
    _check(stores, days, seed, visitors_per_day, randomising_share, sensors)
    crowd = Crowd(seed, visitors_per_day, randomising_share)
    sites = [site(seed, index, sensors) for index in range(stores)]
    (directory / "truth").mkdir(parents=True, exist_ok=True)
    config = directory / "chain.toml"
    write_config(config, sites, policy)
    chain = load_chain(config)
    numbers = range(day_number(start), day_number(start) + days)
    captures: dict[str, tuple[Path, ...]] = {}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(pq.ParquetWriter(directory / "truth" / f"{name}.parquet", schema))
            for name, schema in _TABLES.items()
        }
        for done, place in enumerate(sites):
            one = _StoreRun(crowd, place, chain.stores[place.store_id], chain.privacy)
            captures[place.store_id] = one.files(directory)
            for passed, tables in enumerate(one.days(captures[place.store_id], numbers), start=1):
                if progress is not None:
                    progress(done * days + passed, stores * days)
                if passed == days:
                    for name, rows in tables.items():
                        writers[name].write_table(pa.Table.from_pylist(rows, schema=_TABLES[name]))
    return SimulatedChain(directory, config, captures, directory / "truth")


def _check(stores: int, days: int, seed: int, visitors_per_day: int, randomising_share: float, sensors: int) -> None:
    limits = (
        ("stores", stores, 1, MAX_STORES),
        ("days", days, 1, 400),
        ("seed", seed, 0, 2**31),
        ("visitors-per-day", visitors_per_day, 1, 5000),
        ("randomising-share", randomising_share, 0, 1),
        ("sensors", sensors, 1, len(SENSOR_NAMES)),
    )
    problems = [
        f"{name} is {value}, must be from {low} to {high}"
        for name, value, low, high in limits
        if not low <= value <= high
    ]
    if problems:
        raise ConfigError(problems)


class _StoreRun:
    """One store, day after day: what its days remember of each other is here."""

    def __init__(self, crowd: Crowd, place: Site, store: StoreConfig, policy: PrivacyPolicy) -> None:
        self._crowd, self._place, self._store = crowd, place, store
        rule = store.versions[0].rule
        self._ears = [truth.Listener(rule.gap_s) for _ in place.sensors]
        self._history = truth.History(policy)
        self._seen: set[int] = set()
        self._tables: _Tables = {name: [] for name in _TABLES}

    def files(self, directory: Path) -> tuple[Path, ...]:
        folder = directory / self._place.store_id
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(folder / f"{sensor.sensor_id}.pcap" for sensor in self._place.sensors)

    def days(self, paths: tuple[Path, ...], numbers: range) -> Iterator[_Tables]:
        """Make each day in turn; yields the rows of all days so far."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for file in files:
                file.write(PCAP_HEADER)
            for number in numbers:
                self._day(files, truth.day_of(self._store, number))
                yield self._tables

    def _day(self, files: Sequence[BinaryIO], day: Day) -> None:
        people = attendance(self._crowd, self._place, day)
        air = sent(self._crowd, self._place, day, people)
        key = {"store_id": self._place.store_id, "business_date": date_of(day.number)}
        sightings = []
        for number, file in enumerate(files):
            frames = heard(self._crowd, self._place, day, number, air)
            write_frames(file, self._place.sensors[number], frames)
            sightings.append(self._ears[number].sightings(frames))
            self._tables["sensors"].append({**key, **self._sensor_row(number, frames)})
        found = truth.presences(self._store, day, sightings)
        self._tables["people"] += [{**key, **row} for row in _people_rows(people)]
        person_of = dict(zip(people.address.tolist(), people.person.tolist(), strict=True))
        self._tables["presences"] += [{**key, **_presence_row(p, person_of[p.address])} for p in found]
        row = {**key, **self._true_day(people), **truth.heard_day(found, self._history)}
        self._tables["store_days"].append(row)

    def _sensor_row(self, number: int, frames: Frames) -> dict[str, Any]:
        sensor = self._place.sensors[number]
        return {
            "sensor_id": sensor.sensor_id,
            "frames": len(frames),
            "malformed": int((frames.kind >= FIRST_MALFORMED).sum()),
            "clock_offset_ms": sensor.clock_offset_us / 1000,
        }

    def _true_day(self, people: Attendance) -> dict[str, int | float | None]:
        """People, not devices; repeat: visited this store on an earlier simulated day."""
        inside = people.being == Being.VISITOR
        visitors = set(people.person[inside].tolist())
        again = len(visitors & self._seen)
        self._seen |= visitors
        dwell_s = (people.left_us - people.entered_us)[inside] / 1_000_000
        return {
            "true_visitors": len(visitors),
            "true_new": len(visitors) - again,
            "true_repeat": again,
            "true_passers_by": int((people.being == Being.PASSER_BY).sum()),
            "true_staff": int((people.being == Being.STAFF).sum()),
            "true_mean_dwell_s": float(np.mean(dwell_s)) if len(visitors) else None,
        }


def _people_rows(people: Attendance) -> list[dict[str, Any]]:
    columns = (people.person, people.being, people.entered_us // 1000, people.left_us // 1000, people.phone)
    return [
        {
            "person_id": person,
            "kind": truth.being_name(being),
            "entered_at": entered,
            "left_at": left,
            "device": Phone(phone).name.lower(),
            "stable": phone != Phone.RANDOM,
        }
        for person, being, entered, left, phone in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _presence_row(presence: truth.Presence, person: int) -> dict[str, Any]:
    return {
        "person_id": person,
        "first_seen_at": presence.first_ms,
        "last_seen_at": presence.last_ms,
        "entered_at": presence.entered_ms,
        "left_at": presence.left_ms,
        "dwell_s": presence.dwell_s,
        "sightings": presence.sightings,
        "rssi_max_dbm": presence.rssi_max_dbm,
        "role": presence.role,
    }
