"""Every table and view explains itself, the logs are the contract's, and a migration is applied once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from footfall_cli.main import main
from footfall_events import schemas
from footfall_sinks.batch import TARGETS
from footfall_sinks.clickhouse import open_client
from footfall_sinks.migrate import apply_schema, migrations

from tests.store.world import MONDAY, Row, World, chain_of, heard_all_day, store_minute, visit

VIEWS = ("visits", "store_minutes", "sensor_minutes", "sensor_days", "visitor_days", "store_days", "chain_days")
DIMENSIONS = ("chain", "stores", "sensors")
DESCRIBED = {target.table: schemas.DESCRIBED[topic] for topic, target in TARGETS.items()}
_KINDS = {
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.int8(): "Int8",
    pa.float64(): "Float64",
    pa.bool_(): "Bool",
    pa.string(): "LowCardinality(String)",
    pa.date32(): "Date",
    pa.timestamp("ms", tz="UTC"): "DateTime64(3, 'UTC')",
}


def columns(world: World, where: str) -> list[Row]:
    return world.rows(
        f"SELECT table, name, type, comment FROM system.columns WHERE database = 'footfall' AND {where} "
        "ORDER BY table, position"
    )


def test_every_table_and_view_says_what_a_row_is(world: World) -> None:
    tables = world.rows("SELECT name, comment FROM system.tables WHERE database = 'footfall'")
    assert {*VIEWS, *DIMENSIONS, *(target.table for target in TARGETS.values())} <= {table["name"] for table in tables}
    assert [table["name"] for table in tables if not table["comment"]] == []


def test_every_column_of_every_table_and_view_says_what_it_means(world: World) -> None:
    found = columns(world, "1")
    assert {*VIEWS, *DIMENSIONS} <= {column["table"] for column in found}
    assert [f"{column['table']}.{column['name']}" for column in found if not column["comment"]] == []


@pytest.mark.parametrize("table", DESCRIBED)
def test_a_log_table_has_the_contracts_columns_types_and_words(world: World, table: str) -> None:
    wanted = []
    for field in DESCRIBED[table]:
        kind = _KINDS[field.type]
        description = field.metadata[b"description"].decode()
        wanted.append((field.name, f"Nullable({kind})" if field.nullable else kind, description))
    found = columns(world, f"table = '{table}'")
    assert [(column["name"], column["type"], column["comment"]) for column in found] == wanted


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "chain.toml"
    path.write_text('[[stores]]\nid = "north"\nsensors = ["door"]\n', encoding="utf-8")
    return path


def everything(world: World) -> dict[str, Any]:
    """Definitions of all tables and views, what is applied, and every row that a view shows."""
    definitions = "SELECT name, create_table_query FROM system.tables WHERE database = 'footfall' ORDER BY name"
    found: dict[str, Any] = {"": world.rows(definitions)}
    found["schema_migrations"] = world.rows("SELECT * FROM footfall.schema_migrations ORDER BY name")
    return found | {view: world.rows(f"SELECT * FROM footfall.{view} ORDER BY ALL") for view in (*DIMENSIONS, *VIEWS)}


def apply(url: str, config: Path) -> int:
    return main(["schema", "apply", "--clickhouse", url, "--config", str(config)])


def test_applying_twice_changes_nothing(world: World, schema_url: str, config: Path) -> None:
    assert apply(schema_url, config) == 0
    world.insert([*heard_all_day("north", MONDAY), store_minute("north", MONDAY), visit("north", MONDAY)])
    before = everything(world)
    assert [row["name"] for row in before["schema_migrations"]] == list(migrations())
    assert len(before["store_days"]) == len(before["visits"]) == 1
    assert apply(schema_url, config) == 0
    assert everything(world) == before


@pytest.fixture
def altered(world: World) -> Iterator[str]:
    """A migration that was applied in other words than the file has now."""
    name, *_ = migrations()
    (row,) = world.rows(f"SELECT sum FROM footfall.schema_migrations WHERE name = '{name}'")
    update = "ALTER TABLE footfall.schema_migrations UPDATE sum = '{}' WHERE name = '{}' SETTINGS mutations_sync = 1"
    world.client.command(update.format("0" * 64, name))
    yield name
    world.client.command(update.format(row["sum"], name))


def test_an_altered_migration_is_refused_before_anything_changes(
    world: World, schema_url: str, config: Path, altered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apply(schema_url, config) == 2
    assert altered in capsys.readouterr().err
    assert world.rows("SELECT * FROM footfall.stores") == []


class Watched:
    """The client, with a look at the dimensions after each of its statements."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen: list[tuple[Any, ...]] = []

    def command(self, cmd: str) -> Any:
        return self._look(self._client.command(cmd))

    def query(self, query: str) -> Any:
        return self._look(self._client.query(query))

    def insert(self, table: str, data: Sequence[Sequence[Any]], column_names: Sequence[str]) -> Any:
        return self._look(self._client.insert(table, data, column_names))

    def _look(self, answer: Any) -> Any:
        counts = [f"(SELECT count() FROM footfall.{view})" for view in (*DIMENSIONS, "store_days")]
        self.seen.append(tuple(self._client.query(f"SELECT {', '.join(counts)}").result_rows[0]))
        return answer


def test_no_query_finds_the_chain_without_its_stores_while_they_are_loaded_anew(world: World) -> None:
    world.configure("north", "south")
    world.insert([*heard_all_day("north", MONDAY), *heard_all_day("south", MONDAY)])
    watched = Watched(world.client)
    apply_schema(watched, chain_of("north", "south"))
    assert len(watched.seen) > 5
    assert set(watched.seen) == {(1, 2, 2, 2)}


def test_what_clickhouse_refuses_is_said_in_its_words(schema_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(open_client(schema_url)) as client:
        client.command("RENAME TABLE footfall.schema_migrations TO footfall.kept")
        client.command("CREATE TABLE footfall.schema_migrations (x UInt8) ENGINE = MergeTree ORDER BY x")
        try:
            assert main(["schema", "apply", "--clickhouse", schema_url]) == 1
        finally:
            client.command("DROP TABLE footfall.schema_migrations SYNC")
            client.command("RENAME TABLE footfall.kept TO footfall.schema_migrations")
    said = capsys.readouterr().err
    assert said.startswith("footfall: ClickHouse refuses:")
    assert "UNKNOWN_IDENTIFIER" in said
