"""Messages of `sightings.v1` as the fold sees them: decoded and judged, or poison with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from footfall_events.errors import PoisonEvent
from footfall_events.schemas import AddressClass
from footfall_events.sighting_batches import BatchHeader
from footfall_events.sighting_reader import SightingRows, SightingsReader, columns_of
from footfall_events.stores import StoreConfig
from numpy.typing import NDArray

from footfall_streams.columns import Columns
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
    """A decoded message: its store's number, its header and its rows."""

    message: Message
    store: int
    header: BatchHeader
    rows: SightingRows


@dataclass(frozen=True)
class Chunk:
    """The batches of some messages, in order, and those messages that are none, each with its reason.

    `rows` are the sightings of all batches, one batch behind the other: `device`, `first` and `last` in ms, `rssi` in
    dBm (INAUDIBLE where no frame told), `class`. Of batch i they are `lengths[i]`, and start between `earliest[i]` and
    `latest[i]`; of an empty one both are its clock.
    """

    batches: list[Batch]
    poison: list[tuple[Message, str]]
    rows: Columns
    lengths: NDArray[np.int64]
    earliest: NDArray[np.int64]
    latest: NDArray[np.int64]


def read_batches(
    messages: Sequence[Message],
    stores: Mapping[str, int],
    configs: Sequence[StoreConfig],
    partitions: Sequence[int],
    reader: SightingsReader,
) -> Chunk:
    """Decode and judge messages; `stores` numbers the stores, the others are by that number."""
    batches: list[Batch] = []
    poison: list[tuple[Message, str]] = []
    for message in messages:
        try:
            batch = _read_batch(message, stores, configs, reader)
            if partitions[batch.store] != message.partition:
                raise PoisonEvent("wrong_partition")
            batches.append(batch)
        except PoisonEvent as error:
            poison.append((message, error.reason))
    columns = columns_of(batch.rows for batch in batches)
    first, spans = columns["observed_at"], columns["span_ms"]
    rows = Columns(
        {
            "device": columns["device_id"],
            "first": first,
            "last": first + spans,
            "rssi": columns["rssi_dbm"],
            "class": columns["address_class"],
        }
    )
    lengths = np.array([batch.rows.num_rows for batch in batches], np.int64)
    clocks = np.array([batch.header.sensor_clock_ms for batch in batches], np.int64)
    earliest = _of_each(np.minimum, rows["first"], lengths, clocks)
    latest = _of_each(np.maximum, rows["first"], lengths, clocks)
    stable = (rows["class"] == AddressClass.GLOBAL) | (rows["class"] == AddressClass.ASSOCIATED)
    # Of several faults of one batch the last is told.
    faults = (
        (PoisonEvent("span_too_long"), _of_each(np.maximum, spans, lengths, 0) > _MAX_SPAN_MS),
        (PoisonEvent("unstable_address"), _of_each(np.logical_or, ~stable, lengths, False)),
        (PoisonEvent("rows_ahead_of_clock"), (earliest < _EARLIEST_MS) | (latest > clocks + ROW_LEAD_MS)),
        (PoisonEvent("invalid_batch"), np.array([batch.rows.holds_nulls for batch in batches], bool)),
    )
    reasons = {place: fault.reason for fault, wrong in faults for place in np.flatnonzero(wrong).tolist()}
    if not reasons:
        return Chunk(batches, poison, rows, lengths, earliest, latest)
    poison += [(batches[place].message, reason) for place, reason in reasons.items()]
    poison.sort(key=lambda letter: (letter[0].partition, letter[0].offset))
    sound = np.ones(len(batches), bool)
    sound[list(reasons)] = False
    kept = [batch for batch, is_sound in zip(batches, sound.tolist(), strict=True) if is_sound]
    return Chunk(kept, poison, rows[np.repeat(sound, lengths)], lengths[sound], earliest[sound], latest[sound])


def _read_batch(
    message: Message, stores: Mapping[str, int], configs: Sequence[StoreConfig], reader: SightingsReader
) -> Batch:
    """One message, judged by all but its rows; raises PoisonEvent with the reason to dead-letter it whole."""
    if message.quarantined:
        raise PoisonEvent("quarantined")
    header, rows = reader.open(message.value)
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
    return Batch(message, store, header, rows)


def _of_each(
    reduce: np.ufunc, values: NDArray[Any], lengths: NDArray[np.int64], empty: NDArray[Any] | int
) -> NDArray[Any]:
    """A reduction over each of consecutive pieces of a column; `empty` where a piece has no rows."""
    found = np.empty(len(lengths), values.dtype)
    found[:] = empty
    pieces = np.flatnonzero(lengths)
    if len(pieces):
        begins = np.cumsum(lengths) - lengths
        found[pieces] = reduce.reduceat(values, begins[pieces])
    return found
