"""Reads the embedded ClickHouse: rows as plain objects."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from footfall_events.errors import FootfallError


def query(url: str, sql: str) -> list[dict[str, Any]]:
    """Rows of one SELECT as JSON has them; raises FootfallError with ClickHouse's words."""
    settings = {"default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
    address = f"{url}/?{urllib.parse.urlencode(settings)}"
    request = urllib.request.Request(address, data=sql.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return [json.loads(line) for line in reply.read().splitlines() if line]
    except urllib.error.HTTPError as error:
        raise FootfallError(f"{sql}: {error.read().decode(errors='replace')[:500]}") from error
