"""Arrow schemas of every topic: each column with its unit and the meaning of its codes.

Every value on the wire is one Arrow IPC stream with one record batch, and names its columns and their types. What they
mean stands beside each column here (`…_DESCRIBED`) and, for readers without our code, in `footfall topics columns` and
the comments of ClickHouse's tables: in every message it was up to half of the bytes (infra/adr/0017-*.md).
Times are `timestamp[ms, UTC]`; the clock they come from is named in the column's description. Codes are small integers
whose names stand in the enums below.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import pyarrow as pa

TIMESTAMP = pa.timestamp("ms", tz="UTC")


class AddressClass(IntEnum):
    """What a source address allows. GLOBAL and ASSOCIATED are stable; RANDOM never leaves the sensor."""

    GLOBAL = 1
    ASSOCIATED = 2
    RANDOM = 3


class FrameKind(IntFlag):
    """Kinds of client frame heard in a burst, as a bit set."""

    PROBE_REQUEST = 1
    ASSOCIATION_REQUEST = 2  # and reassociation requests
    AUTHENTICATION = 4
    DATA = 8  # data or null frames to an own BSSID, headers only


class Role(IntEnum):
    """What a presence turned out to be, under the store's rule."""

    PASSER_BY = 1
    BOUNCED = 2
    VISITOR = 3
    STAFF_OR_FIXED = 4


def _codes(enum: type[IntEnum] | type[IntFlag]) -> str:
    return ", ".join(f"{member.value}={(member.name or '').lower()}" for member in enum)


def _field(name: str, kind: pa.DataType, description: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"description": description})


def _undescribed(schema: pa.Schema) -> pa.Schema:
    return pa.schema([column.remove_metadata() for column in schema])


_STORE = _field("store_id", pa.string(), "store, as named in the configuration")
_BUSINESS_DATE = _field(
    "business_date", pa.date32(), "local date in the store's time zone, turning at its cut-over hour"
)

SIGHTINGS_DESCRIBED = pa.schema(
    [
        _field("device_id", pa.uint64(), "pseudonym: keyed 64-bit BLAKE2b of a stable address"),
        _field("observed_at", TIMESTAMP, "first frame of the burst, the radio's clock, truncated to ms"),
        _field("span_ms", pa.uint16(), "first to last frame of the burst, ms, 0 to 10000"),
        _field("rssi_dbm", pa.int8(), "strongest plausible signal, dBm; null if no frame had one", null=True),
        _field("frames", pa.uint16(), "frames in the burst, saturating at 65535"),
        _field("freq_mhz", pa.uint16(), "channel centre of the first frame, MHz; 0 if not reported"),
        _field("address_class", pa.int8(), f"{_codes(AddressClass)}; random never occurs on the wire"),
        _field("frame_kinds", pa.uint8(), f"bit set: {_codes(FrameKind)}"),
    ]
)
SIGHTINGS = _undescribed(SIGHTINGS_DESCRIBED)
"""Columns of `sightings.v1`; the batch's header travels as schema metadata, see sighting_batches.py."""

NEAR_BANDS_DBM: tuple[int, ...] = (-55, -60, -65, -70, -75)
"""Lower edges of the signal bands of `sensor_minutes.v1`: a burst counts in each band it reaches."""
BANDS: tuple[str, ...] = (*(str(-edge) for edge in NEAR_BANDS_DBM), "all")
CLASSES: tuple[str, ...] = ("random", "stable")


def band_columns() -> list[str]:
    """Names of the counting columns, e.g. `random_bursts_65`, `stable_addresses_all`, in schema order."""
    return [f"{cls}_{what}_{band}" for cls in CLASSES for what in ("bursts", "addresses") for band in BANDS]


def _band_description(name: str) -> str:
    cls, what, band = name.split("_")
    near = "of any or no signal" if band == "all" else f"whose strongest frame is at or above -{band} dBm"
    if what == "bursts":
        return f"bursts of {cls} addresses {near}"
    return f"distinct {cls} addresses with a burst {near}"


SENSOR_MINUTES_DESCRIBED = pa.schema(
    [
        _STORE,
        _field("sensor_id", pa.string(), "sensor, unique within its store"),
        _field("boot_id", pa.string(), "one run of the collector; rows of one minute and several boots add up"),
        _field("minute", TIMESTAMP, "start of the minute, the radio's clock"),
        _BUSINESS_DATE,
        _field("listening_s", pa.float64(), "seconds of the minute in which the sensor listened, 0 to 60"),
        _field("kernel_drops", pa.uint32(), "frames the kernel dropped before the collector read them"),
        _field("frames", pa.uint32(), "frames heard in the minute, every one"),
        _field("rejected", pa.uint32(), "of them malformed"),
        _field("ignored", pa.uint32(), "of them well formed, but not sent by a client of interest"),
        *(_field(name, pa.uint32(), _band_description(name)) for name in band_columns()),
    ]
)
SENSOR_MINUTES = _undescribed(SENSOR_MINUTES_DESCRIBED)

VISITS_DESCRIBED = pa.schema(
    [
        _field("visit_id", pa.uint64(), "BLAKE2b of store, device, key epoch and first_seen_at"),
        _STORE,
        _field("device_id", pa.uint64(), "pseudonym of the device, comparable within one key epoch only"),
        _field("key_epoch", pa.uint32(), "number of the pseudonym key's epoch"),
        _field("first_seen_at", TIMESTAMP, "start of the first sighting, the radio's clock"),
        _field("last_seen_at", TIMESTAMP, "end of the last sighting, the radio's clock"),
        _field("entered_at", TIMESTAMP, "start of the first sighting at or above enter_dbm", null=True),
        _field("left_at", TIMESTAMP, "latest end at or above stay_dbm, not before entered_at", null=True),
        _field("dwell_s", pa.uint32(), "left_at - entered_at, whole seconds rounded down", null=True),
        _field("sightings", pa.uint32(), "bursts merged into the visit"),
        _field("rssi_max_dbm", pa.int8(), "strongest signal, dBm"),
        _field("address_class", pa.int8(), f"highest code among its sightings: {_codes(AddressClass)}"),
        _field("role", pa.int8(), _codes(Role)),
        _field("engaged", pa.bool_(), "a visitor who stayed at least engaged_s"),
        _BUSINESS_DATE,
        _field("rule_version", pa.string(), "name@version of the store's visit rule"),
        _field("version", pa.uint64(), "(log epoch << 48) | offset of the last message that touched the row"),
        _field("deleted", pa.uint8(), "1 = withdrawn: reopened, joined to another, or started earlier"),
    ]
)
VISITS = _undescribed(VISITS_DESCRIBED)

STORE_MINUTES_DESCRIBED = pa.schema(
    [
        _STORE,
        _field("minute", TIMESTAMP, "start of the minute, the radio's clock"),
        _BUSINESS_DATE,
        _field("sensors_live", pa.uint16(), "sensors with a batch whose clock falls into the minute"),
        _field("present", pa.uint32(), "stable devices inside at the minute's end, every role"),
        _field("entries", pa.uint32(), "closed presences that entered in the minute"),
        _field("exits", pa.uint32(), "closed presences that left in the minute"),
        _field("passers_by", pa.uint32(), "closed presences that never entered, first seen in the minute"),
        _field("is_final", pa.uint8(), "1 = only a late sighting can still change the row"),
        _field("version", pa.uint64(), "(log epoch << 48) | offset of the message that published the row"),
    ]
)
STORE_MINUTES = _undescribed(STORE_MINUTES_DESCRIBED)

DESCRIBED: dict[str, pa.Schema] = {
    "sightings.v1": SIGHTINGS_DESCRIBED,
    "sensor_minutes.v1": SENSOR_MINUTES_DESCRIBED,
    "visits.v1": VISITS_DESCRIBED,
    "store_minutes.v1": STORE_MINUTES_DESCRIBED,
}
"""Columns of each topic with what they mean."""
