"""The option of commands that work on ClickHouse, and their connection to it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from footfall_sinks.address import ClickHouseAddress

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


def add_clickhouse_argument(parser: argparse.ArgumentParser) -> None:
    """`--clickhouse URL`."""
    parser.add_argument("--clickhouse", metavar="URL", help="http://HOST:PORT of ClickHouse (FOOTFALL_CLICKHOUSE)")


@contextmanager
def warehouse(args: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[Client]:
    """A client; raises ConfigError or StoreUnavailable, and ClickHouse's refusals in its own words."""
    # Some of these commands also work on files alone, where its client is not installed.
    from footfall_sinks.clickhouse import open_client, statements_refused

    with closing(open_client(ClickHouseAddress.given(args.clickhouse, environ))) as client, statements_refused():
        yield client
