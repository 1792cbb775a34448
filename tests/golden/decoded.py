"""A message as plain values, so that two of them can be compared whatever release of Arrow wrote them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def decoded(value: bytes) -> dict[str, Any]:
    """Fields, schema metadata and rows. The release that wrote it is not part of what a message says."""
    reader = pa.ipc.open_stream(value)
    schema, rows = reader.schema, reader.read_all()
    return {
        "fields": fields_of(schema),
        "header": {key: text for key, text in (schema.metadata or {}).items() if key != b"collector_version"},
        "rows": rows.to_pylist(),
    }


def fields_of(schema: pa.Schema) -> list[tuple[str, str, bool, dict[bytes, bytes] | None]]:
    """Name, type, whether it may be null, and metadata of each column."""
    return [(field.name, str(field.type), field.nullable, field.metadata) for field in schema]
