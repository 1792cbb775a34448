"""Applies the numbered SQL files once each, then loads the stores and sensors of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, Protocol

from footfall_events.errors import ConfigError
from footfall_events.stores import ChainConfig

LOOKBACK_DAYS = 30


class Client(Protocol):
    """What is needed of clickhouse-connect's client."""

    def command(self, cmd: str) -> Any: ...

    def query(self, query: str) -> Any: ...

    def insert(self, table: str, data: Sequence[Sequence[Any]], column_names: Sequence[str]) -> Any: ...


def statements(sql: str) -> list[str]:
    """Single statements of a file: each ends with a semicolon at a line's end; comment lines are dropped."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join([*lines, ""]).split(";\n") if part.strip()]


def apply_schema(client: Client, chain: ChainConfig | None) -> list[str]:
    """Apply what is missing; names of the files applied. Raises ConfigError if an applied file has changed."""
    client.command("CREATE DATABASE IF NOT EXISTS footfall")
    client.command(
        "CREATE TABLE IF NOT EXISTS footfall.schema_migrations"
        " (name String, sum String, applied_at DateTime DEFAULT now())"
        " ENGINE = MergeTree ORDER BY name COMMENT 'Migrations applied to this database'"
    )
    known = dict(client.query("SELECT name, sum FROM footfall.schema_migrations").result_rows)
    applied = []
    for file in sorted(files("footfall_sinks").joinpath("schema").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        sql = file.read_text(encoding="utf-8")
        digest = sha256(sql.encode()).hexdigest()
        if file.name in known:
            if known[file.name] != digest:
                raise ConfigError([f"{file.name} was applied in another form: write a new migration instead"])
            continue
        for statement in statements(sql):
            client.command(statement)
        client.insert("footfall.schema_migrations", [[file.name, digest]], ["name", "sum"])
        applied.append(file.name)
    if chain is not None:
        _load(client, chain)
    return applied


def _load(client: Client, chain: ChainConfig) -> None:
    stores, sensors = [], []
    for store in chain.stores.values():
        zone, count = store.versions[0].time_zone, len(store.sensors)
        stores.append([store.store_id, store.name, store.region, zone, store.area_m2, count, LOOKBACK_DAYS])
        sensors += [[store.store_id, sensor] for sensor in store.sensors]
    client.command("TRUNCATE TABLE footfall.stores")
    client.command("TRUNCATE TABLE footfall.sensors")
    columns = ["store_id", "name", "region", "time_zone", "area_m2", "sensors", "lookback_days"]
    client.insert("footfall.stores", stores, columns)
    client.insert("footfall.sensors", sensors, ["store_id", "sensor_id"])
