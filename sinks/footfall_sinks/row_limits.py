"""Which rows may be stored: ClickHouse would take others, and then every query that meets one of them fails.

Columns, types and nulls are the contract's already (`decode_rows`); here stand the values that a view cannot show:
a code without a name, an instant that no client can print, a date that the table does not have.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from footfall_events.errors import PoisonEvent
from footfall_events.schemas import AddressClass, Role

_DAY_MS = 86_400_000
_LATEST_MS = 2**42 + _DAY_MS
"""A sensor's clock is below 2**42 (the year 2109); what ends or is counted after it may reach into the next day."""
_NAME_BYTES = 200
"""No text of the contract's header is longer."""

_LIMITS: dict[str, tuple[float, float]] = {
    "address_class": (AddressClass.GLOBAL, AddressClass.ASSOCIATED),
    "role": (Role.PASSER_BY, Role.STAFF_OR_FIXED),
    "deleted": (0, 1),
    "is_final": (0, 1),
    "listening_s": (0, 60),
    "business_date": (0, _LATEST_MS // _DAY_MS),
}


def refuse_values(rows: pa.RecordBatch) -> None:
    """Raises PoisonEvent `bad_value` naming the first column with a value that must not be stored."""
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_string(field.type):
            wrong = (pc.max(pc.binary_length(column)).as_py() or 0) > _NAME_BYTES
        elif pa.types.is_timestamp(field.type):
            wrong = _is_outside(column.cast(pa.int64()), 0, _LATEST_MS)
        elif pa.types.is_date(field.type):
            wrong = _is_outside(column.cast(pa.int32()), *_LIMITS[field.name])
        else:
            wrong = field.name in _LIMITS and _is_outside(column, *_LIMITS[field.name])
        if wrong:
            raise PoisonEvent("bad_value", field.name)


def _is_outside(column: pa.Array, low: float, high: float) -> bool:
    """Whether any value is, or is no number at all; nulls and no rows are inside."""
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        return True
    least, most = pc.min_max(column).as_py().values()
    return least is not None and not low <= least <= most <= high
