"""What the sink asks of ClickHouse: the only module that knows its client, and that translates its errors."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from footfall_events.errors import ConfigError, FootfallError, PoisonEvent, StoreUnavailable

from footfall_sinks.address import ClickHouseAddress, url_problem

DATABASE = "footfall"

# Refusals of the rows themselves, by ClickHouse's error number. Anything else (no table yet, no memory, too many
# parts, read only) is the store's trouble: waiting loses nothing, a dead letter would.
REJECTED_ROWS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
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


SCHEMA_IS_BEHIND = frozenset({16, 60, 81})
"""NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_TABLE, UNKNOWN_DATABASE: an operator's command helps, and the rows wait for it."""

LOGIN_REFUSED = frozenset({192, 193, 194, 516})
"""UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED."""

_TIMEOUT_S = 60.0


def open_client(address: ClickHouseAddress | str, database: str = "", timeout_s: float = _TIMEOUT_S) -> Client:
    """A client of an address, or of a URL that needs no login.

    Raises StoreUnavailable; ConfigError for a bad URL, a login or a certificate that is refused.
    """
    if isinstance(address, str):
        address = ClickHouseAddress(address)
    problem = url_problem(address.url)
    if problem:
        raise ConfigError([problem])
    parts = urlsplit(address.url)
    secure = parts.scheme == "https"
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            username=address.user or None,
            password=address.password,
            secure=secure,
            ca_cert=str(address.ca_file) if address.ca_file else None,
            database=database or "default",
            connect_timeout=min(5, timeout_s),
            # For a store that took the connection and never answers.
            send_receive_timeout=timeout_s,
            # One session would serialise a schema change behind every insert.
            autogenerate_session_id=False,
        )
    except (ClickHouseError, urllib3.exceptions.HTTPError, OSError) as error:
        refused = _refusal(address, error)
        raise (ConfigError([refused]) if refused else StoreUnavailable(_text(error))) from error


def _refusal(address: ClickHouseAddress, error: BaseException) -> str:
    """What to change, for an error that waiting does not cure; empty for any other."""
    if getattr(error, "code", None) in LOGIN_REFUSED:
        return (
            f"ClickHouse refuses user {address.user or 'default'!r}: check FOOTFALL_CLICKHOUSE_USER and "
            "FOOTFALL_CLICKHOUSE_PASSWORD or FOOTFALL_CLICKHOUSE_PASSWORD_FILE"
        )
    found: object = error
    # urllib3 keeps the cause as `reason`, clickhouse-connect as the exception's own.
    while isinstance(found, BaseException):
        if isinstance(found, ssl.SSLCertVerificationError):
            return (
                f"ClickHouse's certificate is refused: {found.verify_message}: check FOOTFALL_CLICKHOUSE_CA_FILE, "
                "the host name in FOOTFALL_CLICKHOUSE, and the certificate's dates"
            )
        nested = [found.__cause__, getattr(found, "reason", None), *found.args, found.__context__]
        found = next((each for each in nested if isinstance(each, BaseException)), None)
    return ""


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

    def __init__(
        self, address: ClickHouseAddress | str, database: str = DATABASE, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._address = address
        self._database = database
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._was_let_in = False

    def connect(self) -> None:
        """Open the connection; raises StoreUnavailable, or ConfigError if it is refused and always was."""
        try:
            self._client = open_client(self._address, timeout_s=self._timeout_s)
        except ConfigError as error:
            if self._was_let_in:
                # Somebody can put right what is wrong there: an outage like any other.
                raise StoreUnavailable("; ".join(error.problems)) from error
            raise
        self._was_let_in = True

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert; returning means the rows are in the table.

        Raises StoreUnavailable (the rows may be there or not: insert them again), PoisonEvent `store_rejected` (never).
        """
        try:
            if self._client is None:
                self.connect()
            assert self._client is not None
            self._client.insert_arrow(table, rows, database=self._database, settings=_settings())
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


def _settings() -> dict[str, str | int]:
    return {
        # An asynchronous insert answers before the rows are safe.
        "async_insert": 0,
        # Never used twice: a ClickHouse that is killed may know the token, or the content, of rows that it lost
        # (infra/adr/0015-*.md). The setting that puts its deduplication off has other names in other releases.
        "insert_deduplication_token": secrets.token_hex(16),
        # A sensor that drains a long outage touches many business dates at once.
        "max_partitions_per_insert_block": 0,
    }


def _text(error: Exception) -> str:
    """The kind and number of an error: its text could quote rows, and rows hold pseudonyms."""
    code = getattr(error, "code", None)
    if code in SCHEMA_IS_BEHIND:
        return f"ClickHouse error {code}: its tables are missing or older than this sink, run `footfall schema apply`"
    return f"{type(error).__name__}, ClickHouse error {code}" if code else type(error).__name__
