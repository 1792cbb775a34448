"""Where ClickHouse is and who asks: URL, user, password, and whose certificates are believed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from footfall_events.settings import NO_SECRET, Secret, SettingsReader


@dataclass(frozen=True)
class ClickHouseAddress:
    """`url` is http[s]://HOST[:PORT] and holds no password: an option is in `ps`, and a URL in every error."""

    url: str
    user: str = ""
    password: Secret = NO_SECRET
    ca_file: Path | None = None

    @classmethod
    def given(cls, url: str | None, environ: Mapping[str, str]) -> ClickHouseAddress:
        """Of the environment, but for a URL that is an option; raises ConfigError with every problem."""
        read = SettingsReader({**environ, **({"FOOTFALL_CLICKHOUSE": url} if url else {})})
        found = cls.read(read)
        read.finish()
        return found

    @classmethod
    def read(cls, read: SettingsReader) -> ClickHouseAddress:
        """Read FOOTFALL_CLICKHOUSE and FOOTFALL_CLICKHOUSE_*; what is wrong is in the reader's problems."""
        found = cls(
            url=read.text("FOOTFALL_CLICKHOUSE"),
            user=read.text("FOOTFALL_CLICKHOUSE_USER", ""),
            password=read.secret("FOOTFALL_CLICKHOUSE_PASSWORD", "FOOTFALL_CLICKHOUSE_PASSWORD_FILE"),
            ca_file=read.file("FOOTFALL_CLICKHOUSE_CA_FILE"),
        )
        if found.url:
            read.problems += filter(None, [url_problem(found.url)])
        if found.password and not found.user:
            read.problems.append("FOOTFALL_CLICKHOUSE_PASSWORD is set, but FOOTFALL_CLICKHOUSE_USER is not")
        if found.ca_file:
            read.problems += filter(None, [_ca_problem(found)])
        return found


def url_problem(url: str) -> str:
    """What is wrong with a store's URL, with the remedy; empty if nothing."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    # The URL may hold a password: it is not repeated.
    if not known:
        return "the ClickHouse URL is not understood: give http://HOST:PORT or https://HOST:PORT"
    if "@" in parts.netloc:
        return (
            "the ClickHouse URL holds a user or a password: give them as FOOTFALL_CLICKHOUSE_USER and "
            "FOOTFALL_CLICKHOUSE_PASSWORD or FOOTFALL_CLICKHOUSE_PASSWORD_FILE"
        )
    return ""


def _ca_problem(address: ClickHouseAddress) -> str:
    if address.url.startswith("http:"):
        return "FOOTFALL_CLICKHOUSE_CA_FILE is set, but the ClickHouse URL is not https"
    try:
        ssl.create_default_context(cafile=address.ca_file)
    except OSError:
        return f"FOOTFALL_CLICKHOUSE_CA_FILE is {address.ca_file}: no certificates in PEM format"
    return ""
