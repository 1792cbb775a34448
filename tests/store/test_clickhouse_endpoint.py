"""The sink's store against ClickHouse's engine behind the embedded endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from footfall_events.errors import PoisonEvent, StoreUnavailable
from footfall_sinks.clickhouse import ClickHouseStore

MORNING = datetime(2026, 1, 5, 9, 0, 0, 123_000, tzinfo=UTC)
SCHEMA = pa.schema([("id", pa.uint64()), ("at", pa.timestamp("ms", tz="UTC")), ("rssi_dbm", pa.int8())])


def rows(*ids: int) -> pa.Table:
    return pa.Table.from_pylist([{"id": each, "at": MORNING, "rssi_dbm": None} for each in ids], schema=SCHEMA)


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    client.command(
        "CREATE TABLE footfall.endpoint (id UInt64, at DateTime64(3, 'UTC'), rssi_dbm Nullable(Int8)) "
        "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
    )
    yield "endpoint"
    client.command("DROP TABLE footfall.endpoint SYNC")


@pytest.fixture
def store(clickhouse_url: str) -> Iterator[ClickHouseStore]:
    with closing(ClickHouseStore(clickhouse_url)) as opened:
        yield opened


def ids(client: Client) -> list[int]:
    return [row[0] for row in client.query("SELECT id FROM footfall.endpoint ORDER BY id").result_rows]


def test_arrow_rows_come_back_as_they_went(client: Client, store: ClickHouseStore, table: str) -> None:
    store.insert(table, rows(1, 2**64 - 1))
    back = client.query_arrow("SELECT id, at, rssi_dbm FROM footfall.endpoint ORDER BY id")
    assert back.column("id").to_pylist() == [1, 2**64 - 1]
    assert back.column("at").cast(pa.int64()).to_pylist() == [int(MORNING.timestamp() * 1000)] * 2
    assert back.column("rssi_dbm").to_pylist() == [None, None]


def test_rows_that_come_again_are_inserted_again(client: Client, store: ClickHouseStore, table: str) -> None:
    store.insert(table, rows(1, 2))
    store.insert(table, rows(1, 2))
    assert ids(client) == [1, 1, 2, 2]


def test_rows_the_table_cannot_hold_are_poison(store: ClickHouseStore, table: str) -> None:
    strange = pa.table({"id": pa.array(["one"])})
    with pytest.raises(PoisonEvent) as caught:
        store.insert(table, strange)
    assert caught.value.reason == "store_rejected"


def test_a_column_that_the_table_does_not_have_yet_is_waited_for(store: ClickHouseStore, table: str) -> None:
    newer = pa.table({"id": pa.array([1], pa.uint64()), "unheard_of": pa.array([1], pa.uint8())})
    with pytest.raises(StoreUnavailable, match="run `footfall schema apply`"):
        store.insert(table, newer)


def test_a_missing_table_is_waited_for(store: ClickHouseStore, clickhouse_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="60"):
        store.insert("not_there_yet", rows(1))


def test_a_store_that_does_not_listen_is_unavailable() -> None:
    with closing(ClickHouseStore("http://127.0.0.1:9")) as nobody, pytest.raises(StoreUnavailable):
        nobody.insert("endpoint", rows(1))


def test_an_error_carries_its_number(client: Client) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT nothing_of_that_name")
    assert caught.value.code == 47


def test_a_setting_lasts_for_its_statement_only(client: Client) -> None:
    read = "SELECT getSetting('max_block_size')"
    usual = client.query(read).result_rows
    assert client.query(read, settings={"max_block_size": 7}).result_rows == [(7,)]
    assert client.query(read).result_rows == usual


def test_none_of_the_settings_lasts_if_one_is_refused(client: Client) -> None:
    read = "SELECT getSetting('max_block_size')"
    usual = client.query(read).result_rows
    for refused in ({"no_such_setting": 1}, {"max_insert_block_size": "many"}):
        with pytest.raises(DatabaseError, match=r"Code: (115|27)"):
            client.query(read, settings={"max_block_size": 7, **refused})
        assert client.query(read).result_rows == usual


def test_query_parameters_arrive_typed(client: Client) -> None:
    answer = client.query("SELECT {n:UInt8} + 1, {s:String}", parameters={"n": 3, "s": "it's"})
    assert answer.result_rows == [(4, "it's")]


def test_rows_of_python_values_are_inserted_natively(client: Client, table: str) -> None:
    client.insert(table, [[5, MORNING, -60]], column_names=["id", "at", "rssi_dbm"], database="footfall")
    assert client.query("SELECT id, rssi_dbm FROM footfall.endpoint").result_rows == [(5, -60)]


def test_rows_that_the_table_itself_refuses_are_said_to_be_refused(
    client: Client, store: ClickHouseStore, table: str
) -> None:
    client.command("ALTER TABLE footfall.endpoint ADD CONSTRAINT small CHECK id < 3")
    with pytest.raises((PoisonEvent, StoreUnavailable)):
        store.insert(table, rows(2, 3))
    assert ids(client) == []
