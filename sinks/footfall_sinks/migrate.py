"""Applies the numbered SQL files once each, then loads the configuration's dimensions."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Any, Protocol

from footfall_events.errors import ConfigError
from footfall_events.stores import ChainConfig

from footfall_sinks.schema_dimensions import Reader, load_dimensions


class Client(Reader, Protocol):
    """What is needed of clickhouse-connect's client."""

    def command(self, cmd: str) -> Any: ...


def migrations() -> dict[str, str]:
    """The SQL files by name, in the order in which they are applied."""
    found = {entry.name: entry for entry in files("footfall_sinks").joinpath("schema").iterdir()}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found) if name.endswith(".sql")}


def statements(sql: str) -> list[str]:
    """Single statements of a file: each ends with a semicolon at a line's end; comment lines are dropped."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join([*lines, ""]).split(";\n") if part.strip()]


def apply_schema(client: Client, chain: ChainConfig | None) -> list[str]:
    """Apply what is missing; names of the files applied. Raises ConfigError if an applied file has changed.

    A file that broke off half way is applied from its start again: each of its statements may be repeated.
    """
    client.command("CREATE DATABASE IF NOT EXISTS footfall")
    client.command(
        "CREATE TABLE IF NOT EXISTS footfall.schema_migrations ("
        "name String COMMENT 'SQL file', sum String COMMENT 'SHA-256 of the file as applied', "
        "applied_at DateTime('UTC') DEFAULT now() COMMENT 'when it was applied, UTC, the clock of the server'"
        ") ENGINE = MergeTree ORDER BY name COMMENT 'Migrations applied to this database'"
    )
    wanted = {name: (sql, sha256(sql.encode()).hexdigest()) for name, sql in migrations().items()}
    known = dict(client.query("SELECT name, sum FROM footfall.schema_migrations").result_rows)
    changed = [name for name, (_, digest) in wanted.items() if known.get(name, digest) != digest]
    if changed:
        raise ConfigError([f"{name} was applied in another form: write a new migration instead" for name in changed])
    missing = [name for name in wanted if name not in known]
    for name in missing:
        sql, digest = wanted[name]
        for statement in statements(sql):
            client.command(statement)
        client.insert("footfall.schema_migrations", [[name, digest]], ["name", "sum"])
    if chain is not None:
        load_dimensions(client, chain)
    return missing
