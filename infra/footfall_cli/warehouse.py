"""The options of commands that work on ClickHouse, and their connection to it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from clickhouse_connect.driver.client import Client
from footfall_events.settings import SettingsReader
from footfall_sinks.address import ClickHouseAddress
from footfall_sinks.clickhouse import open_client, statements_refused


def add_clickhouse_argument(parser: argparse.ArgumentParser) -> None:
    """`--clickhouse URL`."""
    parser.add_argument("--clickhouse", metavar="URL", help="http://HOST:PORT of ClickHouse (FOOTFALL_CLICKHOUSE)")


@contextmanager
def warehouse(args: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[Client]:
    """A client; raises ConfigError or StoreUnavailable, and ClickHouse's refusals in its own words."""
    read = SettingsReader({**environ, **({"FOOTFALL_CLICKHOUSE": args.clickhouse} if args.clickhouse else {})})
    address = ClickHouseAddress.read(read)
    read.finish()
    with closing(open_client(address)) as client, statements_refused():
        yield client
