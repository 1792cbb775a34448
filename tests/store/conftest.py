"""A ClickHouse for the tests of this folder: chDB behind its endpoint, on a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from clickhouse_connect.driver.client import Client
from footfall_sinks.clickhouse import DATABASE, ClickHouseStore, open_client
from footfall_sinks.migrate import apply_schema

from tests.store.server import clickhouse
from tests.store.world import World


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty store with the database made; it ends with the tests."""
    with clickhouse(tmp_path_factory.mktemp("clickhouse")) as url:
        with closing(open_client(url)) as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        yield url


@pytest.fixture
def client(clickhouse_url: str) -> Iterator[Client]:
    """An ordinary client of the store."""
    with closing(open_client(clickhouse_url)) as connected:
        yield connected


@pytest.fixture(scope="session")
def schema_url(clickhouse_url: str) -> str:
    """The same store with every table and view."""
    with closing(open_client(clickhouse_url)) as connected:
        apply_schema(connected, None)
    return clickhouse_url


@pytest.fixture(scope="session")
def tables(schema_url: str) -> Iterator[World]:
    """Every table and view with the rows that some test left."""
    with closing(open_client(schema_url)) as connected, closing(ClickHouseStore(schema_url)) as store:
        yield World(connected, store)


@pytest.fixture
def world(tables: World) -> World:
    """Every table and view, without any row."""
    tables.empty()
    return tables
