"""What the sink asks of ClickHouse: the only module that knows its client, and that translates its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from footfall_events.errors import ConfigError, FootfallError, PoisonEvent, StoreUnavailable

DATABASE = "footfall"

# Refusals of the rows themselves, by ClickHouse's error number. Anything else (no table yet, no memory, too many
# parts, read only) is the store's trouble: waiting loses nothing, a dead letter would.
REJECTED_ROWS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        16,  # NO_SUCH_COLUMN_IN_TABLE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        469,  # VIOLATED_CONSTRAINT
    }
)


def open_client(url: str, database: str = "") -> Client:
    """A client of `http[s]://[user[:password]@]host[:port]`; raises StoreUnavailable, ConfigError for a bad URL."""
    problem = url_problem(url)
    if problem:
        raise ConfigError([problem])
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            secure=secure,
            database=database or "default",
            connect_timeout=5,
            send_receive_timeout=60,
            # One session would serialise a schema change behind every insert.
            autogenerate_session_id=False,
        )
    except (ClickHouseError, urllib3.exceptions.HTTPError, OSError) as error:
        raise StoreUnavailable(_text(error)) from error


def url_problem(url: str) -> str:
    """What is wrong with a store's URL, with the remedy; empty if nothing."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    # The URL may hold a password: it is not repeated.
    return "" if known else "the ClickHouse URL is not understood: give http://HOST:PORT or https://HOST:PORT"


@contextmanager
def statements_refused() -> Iterator[None]:
    """Errors of plain statements, in ClickHouse's own words: unlike an insert's, they quote no rows."""
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise StoreUnavailable(_text(error)) from error
    except ClickHouseError as error:
        raise FootfallError(f"ClickHouse refuses: {str(error)[:500]}") from error


class ClickHouseStore:
    """Inserts Arrow tables; connects at the first insert, and again after it lost the server."""

    def __init__(self, url: str, database: str = DATABASE) -> None:
        self._url = url
        self._database = database
        self._client: Client | None = None

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert once per `token`; returning means the rows are in the table.

        Raises StoreUnavailable (try the same rows and token again), PoisonEvent `store_rejected` (never again).
        """
        try:
            if self._client is None:
                self._client = open_client(self._url)
            self._client.insert_arrow(table, rows, database=self._database, settings=_settings(token))
        except ClickHouseError as error:
            code = getattr(error, "code", None)
            if code in REJECTED_ROWS:
                raise PoisonEvent("store_rejected", f"ClickHouse error {code}") from error
            self.close()
            raise StoreUnavailable(_text(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.close()
            raise StoreUnavailable(_text(error)) from error

    def close(self) -> None:
        """Let the connection go; the next insert opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _settings(token: str) -> dict[str, str | int]:
    return {
        # An asynchronous insert answers before the rows are safe, and ignores the token by default.
        "async_insert": 0,
        "insert_deduplicate": 1,
        "insert_deduplication_token": token,
        # A sensor that drains a long outage touches many business dates at once.
        "max_partitions_per_insert_block": 0,
    }


def _text(error: Exception) -> str:
    """The kind and number of an error: its text could quote rows, and rows hold pseudonyms."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__}, ClickHouse error {code}" if code else type(error).__name__
