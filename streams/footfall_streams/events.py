"""One message of `sightings.v1` as the fold sees it: decoded and judged, or poison with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from footfall_events.errors import PoisonEvent
from footfall_events.schemas import AddressClass
from footfall_events.sighting_batches import BatchHeader, decode_sightings
from footfall_events.stores import StoreConfig
from numpy.typing import NDArray

from footfall_streams.watermark import ROW_LEAD_MS

_MAX_SPAN_MS = 10_000
_EARLIEST_MS = 946_684_800_000
"""2000-01-01 UTC. A clock before it was never set: a board without a battery says 1970. And no calendar downstream
reaches back to 1969, the business date of its first hours."""


@dataclass(frozen=True)
class Message:
    """A message as Kafka delivered it; `appended_ms` is the broker's clock.

    An operator has a `quarantined` one dead-lettered unread, as it stops the workers.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    appended_ms: int
    quarantined: bool = False


@dataclass(frozen=True)
class Batch:
    """A decoded message: its store's number, its header and its columns."""

    message: Message
    store: int
    header: BatchHeader
    rows: pa.RecordBatch
    observed_ms: NDArray[np.int64]


def read_batch(message: Message, stores: Mapping[str, int], configs: list[StoreConfig]) -> Batch:
    """Decode and judge one message; raises PoisonEvent with the reason to dead-letter it whole."""
    if message.quarantined:
        raise PoisonEvent("quarantined")
    header, rows = decode_sightings(message.value)
    if header.store_id not in stores:
        raise PoisonEvent("unknown_store")
    if message.key != header.store_id.encode():
        raise PoisonEvent("wrong_key")
    store = stores[header.store_id]
    if header.sensor_id not in configs[store].sensors:
        raise PoisonEvent("unknown_sensor")
    if header.sensor_clock_ms < _EARLIEST_MS:
        raise PoisonEvent("clock_not_set")
    if header.sensor_clock_ms > message.appended_ms + configs[store].max_clock_lead_s * 1000:
        raise PoisonEvent("clock_ahead")
    observed = rows.column("observed_at").cast(pa.int64()).to_numpy()
    classes = rows.column("address_class").to_numpy()
    if len(observed):
        if observed.min() < _EARLIEST_MS or observed.max() > header.sensor_clock_ms + ROW_LEAD_MS:
            raise PoisonEvent("rows_ahead_of_clock")
        if not np.isin(classes, (AddressClass.GLOBAL, AddressClass.ASSOCIATED)).all():
            raise PoisonEvent("unstable_address")
        if rows.column("span_ms").to_numpy().max() > _MAX_SPAN_MS:
            raise PoisonEvent("span_too_long")
    return Batch(message, store, header, rows, observed)
