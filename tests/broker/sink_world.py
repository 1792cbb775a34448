"""Rows for the sink, a store of chDB that can be killed, sinks as processes, and what the tables must then hold."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription  # type: ignore[attr-defined]
from footfall_cli.children import Child, free_port
from footfall_cli.drained import committed_by, end_offsets
from footfall_cli.main import footfall
from footfall_events.producing import PRODUCER
from footfall_events.rows import encode_rows
from footfall_events.schemas import SENSOR_MINUTES, STORE_MINUTES, VISITS
from footfall_sinks.batch import TARGETS, Place
from footfall_sinks.clickhouse import open_client
from footfall_sinks.migrate import apply_schema

Row = dict[str, Any]

GROUP = "footfall-sink"
PARTITIONS = 4
_ANSWER_S = 10.0
DAY = date(2026, 6, 1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TABLES = {
    "visits_log": ("visits.v1", VISITS, ("store_id", "visit_id")),
    "store_minutes_log": ("store_minutes.v1", STORE_MINUTES, ("store_id", "minute")),
    "sensor_minutes_log": ("sensor_minutes.v1", SENSOR_MINUTES, ("store_id", "sensor_id", "minute", "boot_id")),
}
IMPATIENT = {
    "FOOTFALL_SINK_LINGER_MS": "100",
    "FOOTFALL_SINK_IDLE_MS": "50",
    "FOOTFALL_SESSION_TIMEOUT_S": "6",
    "FOOTFALL_STORE_TIMEOUT_S": "1",
}
"""Short limits of a sink, so that a test meets them."""
_SUMMED = [name for name in SENSOR_MINUTES.names if pa.types.is_integer(SENSOR_MINUTES.field(name).type)]


def wait_until(condition: Callable[[], object], what: str, within_s: float = 120.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(0.05)


class Database:
    """chDB behind its endpoint, on a directory that outlives it."""

    def __init__(self, directory: Path, *, schema: bool = True) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "footfall_cli.embedded_clickhouse"]
        command += ["--data", str(directory / "clickhouse"), "--port", str(self.port)]
        self.child = Child("clickhouse", command, directory / "clickhouse.log", dict(os.environ))  # noqa: TID251  a child inherits what the tests run in
        self.start()
        if schema:
            with self.client() as client:
                apply_schema(client, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.child.start()
        wait_until(self._answers, "the store answers")

    def _answers(self) -> bool:
        assert self.child.exit_code() is None, self.child.tail()
        asking = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            asking.request("GET", "/ping")
            return asking.getresponse().status == 200
        except OSError:
            return False
        finally:
            asking.close()

    def client(self) -> closing[Client]:
        return closing(open_client(self.url))

    def rows(self, sql: str) -> list[Row]:
        with self.client() as client:
            return list(client.query(sql, tz_mode="aware").named_results())


class Group:
    """The sinks' consumer group as the broker sees it.

    Each question has a client of its own: one that has lived through a broker's restart may wait for a long time.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})

    def members(self) -> dict[str, frozenset[Place]]:
        """Partitions of each member by its id; empty while the group rebalances, or nobody knows."""
        admin = self._admin()
        try:
            asked = admin.describe_consumer_groups([GROUP], request_timeout=_ANSWER_S)[GROUP]
            described: ConsumerGroupDescription = asked.result(_ANSWER_S)
        except (KafkaException, TimeoutError):
            return {}
        if described.state.name != "STABLE":
            return {}
        return {
            member.member_id: frozenset((tp.topic, tp.partition) for tp in member.assignment.topic_partitions)
            for member in described.members
        }

    def committed(self) -> dict[Place, int]:
        """Next offset of each partition; empty if there is none, or nobody knows."""
        found = {name: committed_by(GROUP, self._bootstrap, name) for name in TARGETS}
        return {(name, number): offset for name, offsets in found.items() for number, offset in offsets.items()}

    def ends(self) -> dict[Place, int]:
        """End of every partition of the sinks' topics. They hold no transactions here, so no markers."""
        found = {name: end_offsets(self._bootstrap, name) for name in TARGETS}
        return {(name, number): end for name, ends in found.items() for number, end in ends.items()}

    def lag(self) -> int:
        """Messages that the group has not committed past."""
        committed = self.committed()
        return sum(end - max(0, committed.get(place, 0)) for place, end in self.ends().items())


class World:
    """Everything sent so far, and how it differs from what the store holds."""

    def __init__(self, bootstrap: str, database: Database, seed: int) -> None:
        self.group = Group(bootstrap)
        self._database = database
        self._random = Random(seed)
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "log_level": 0})
        self._newest: dict[str, dict[tuple[Any, ...], Row]] = {table: {} for table in TABLES}
        self._version = 0

    def send(self, messages: int = 60) -> None:
        """Messages of some rows each: new ones, revisions of old ones, withdrawals, minutes of two boots."""
        for _ in range(messages):
            table = self._random.choice(list(TABLES))
            store = f"store-{self._random.randrange(6)}"
            # A key occurs once a message, as in every step of the worker.
            keys = self._random.sample(range(60), self._random.randrange(1, 20))
            rows = [self._row(table, store, key) for key in keys]
            self.send_value(table, store, encode_rows(pa.RecordBatch.from_pylist(rows, schema=TABLES[table][1])))
            for row in rows:
                self._newest[table][tuple(row[name] for name in TABLES[table][2])] = row

    def send_value(self, table: str, store: str, value: bytes | None) -> None:
        """One message, whatever it holds."""
        # By hand, so that every partition has its stores, whatever their keys hash to.
        self._producer.produce(TABLES[table][0], value, store.encode(), int(store[-1]) % PARTITIONS)
        assert self._producer.flush(60) == 0

    def _row(self, table: str, store: str, number: int) -> Row:
        self._version += 1
        minute = NOON + timedelta(minutes=number)
        common = {"store_id": store, "business_date": DAY + timedelta(days=number // 6 % 3 * 20)}
        if table == "sensor_minutes_log":
            # Sent once: a row that comes again is the same row.
            chance = Random(f"{store} {number}")
            counts = {name: chance.randrange(100) for name in _SUMMED}
            names = {"sensor_id": f"sensor-{number % 2}", "boot_id": f"boot-{number % 5}"}
            return {**common, **counts, **names, "minute": NOON + timedelta(minutes=number // 6), "listening_s": 12.5}
        chance = self._random
        if table == "store_minutes_log":
            counts = {name: chance.randrange(50) for name in ("sensors_live", "present", "entries", "exits")}
            flags = {"passers_by": 1, "is_final": chance.randrange(2), "version": self._version}
            return {**common, **counts, **flags, "minute": minute}
        inside = chance.random() < 0.7
        return {
            **common,
            "visit_id": 2**63 + number,
            "device_id": 2**64 - 1 - number,
            "key_epoch": 7,
            "first_seen_at": minute,
            "last_seen_at": minute + timedelta(milliseconds=chance.randrange(1, 10**7)),
            "entered_at": minute if inside else None,
            "left_at": minute + timedelta(seconds=90) if inside else None,
            "dwell_s": 90 if inside else None,
            "sightings": chance.randrange(1, 1000),
            "rssi_max_dbm": -chance.randrange(30, 90),
            "address_class": chance.choice((1, 2)),
            "role": chance.randrange(1, 5),
            "engaged": inside,
            "rule_version": "retail@1",
            "version": self._version,
            "deleted": int(chance.random() < 0.2),
        }

    def expected(self) -> dict[str, list[Row]]:
        """Newest version of every key, withdrawn ones left out; of sensor minutes the sums over boots as well."""
        tables = {name: [row for row in kept.values() if not row.get("deleted")] for name, kept in self._newest.items()}
        return {**tables, "sensor_minutes": _summed(tables["sensor_minutes_log"])}

    def found(self) -> dict[str, list[Row]]:
        sums = ", ".join(["store_id, sensor_id, minute, business_date, listening_s", *_SUMMED])
        tables = {name: self._database.rows(f"SELECT * FROM footfall.{name} FINAL") for name in TABLES}
        return {**tables, "sensor_minutes": self._database.rows(f"SELECT {sums} FROM footfall.sensor_minutes")}

    def differences(self) -> list[str]:
        """Tables whose rows are not the expected ones, all columns, with an example of what differs."""
        said, found = [], self.found()
        for table, wanted in self.expected().items():
            missing, extra = _minus(wanted, found[table]), _minus(found[table], wanted)
            if missing or extra:
                said.append(f"{table}: {len(missing)} missing {missing[:1]}, {len(extra)} too many {extra[:1]}")
        return said

    def drained(self) -> bool:
        return self.group.lag() == 0


def _summed(rows: list[Row]) -> list[Row]:
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in ("store_id", "sensor_id", "minute", "business_date"))
        if key in sums:
            sums[key] |= {name: sums[key][name] + row[name] for name in ("listening_s", *_SUMMED)}
        else:
            sums[key] = {name: value for name, value in row.items() if name != "boot_id"}
    return list(sums.values())


def _minus(some: list[Row], others: list[Row]) -> list[Row]:
    """Rows of `some` that are not in `others`, repetitions counted."""
    left = list(map(_comparable, others))
    counted: dict[Any, int] = {}
    for one in left:
        counted[one] = counted.get(one, 0) + 1
    result = []
    for row in some:
        key = _comparable(row)
        if counted.get(key, 0):
            counted[key] -= 1
        else:
            result.append(row)
    return result


def _comparable(row: Row) -> tuple[Any, ...]:
    return tuple(sorted(row.items()))


class SinkProcess:
    """One `footfall sink`."""

    def __init__(self, name: str, directory: Path, bootstrap: str, store_url: str) -> None:
        self.log = directory / f"{name}.log"
        environ = {**os.environ, **IMPATIENT}  # noqa: TID251  a child inherits what the tests run in
        command = footfall("sink", "--clickhouse", store_url, "--bootstrap", bootstrap, "--metrics-port", "0")
        self.child = Child(name, command, self.log, environ)
        self.child.start()

    @property
    def pid(self) -> int:
        assert self.child.process is not None
        return self.child.process.pid

    def is_running(self) -> bool:
        return self.child.exit_code() is None


@contextmanager
def ended(*started: Child | SinkProcess) -> Iterator[None]:
    """Kills the processes when the block ends, however it ends."""
    try:
        yield
    finally:
        for one in started:
            (one.child if isinstance(one, SinkProcess) else one).kill()
