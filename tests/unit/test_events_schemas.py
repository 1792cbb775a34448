"""The columns of every topic: described, never null without need, every time in UTC."""

from __future__ import annotations

import pyarrow as pa
import pytest
from footfall_events.schemas import (
    BANDS,
    NEAR_BANDS_DBM,
    SENSOR_MINUTES,
    SENSOR_MINUTES_DESCRIBED,
    SIGHTINGS,
    SIGHTINGS_DESCRIBED,
    STORE_MINUTES,
    STORE_MINUTES_DESCRIBED,
    TIMESTAMP,
    VISITS,
    VISITS_DESCRIBED,
    AddressClass,
    FrameKind,
    Role,
    band_columns,
)

SCHEMAS = {
    "sightings": SIGHTINGS,
    "sensor minutes": SENSOR_MINUTES,
    "visits": VISITS,
    "store minutes": STORE_MINUTES,
}
DESCRIBED = {
    "sightings": SIGHTINGS_DESCRIBED,
    "sensor minutes": SENSOR_MINUTES_DESCRIBED,
    "visits": VISITS_DESCRIBED,
    "store minutes": STORE_MINUTES_DESCRIBED,
}
every_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)


@pytest.mark.parametrize("schema", DESCRIBED.values(), ids=DESCRIBED)
def test_every_column_has_a_name_of_its_own_and_says_what_it_is(schema: pa.Schema) -> None:
    assert len(set(schema.names)) == len(schema.names)
    for field in schema:
        assert field.metadata[b"description"], field.name


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_message_carries_the_described_columns_without_their_words(name: str) -> None:
    assert SCHEMAS[name].equals(DESCRIBED[name])
    assert [field.metadata for field in SCHEMAS[name]] == [None] * len(DESCRIBED[name])


@every_schema
def test_every_time_is_in_utc_to_the_millisecond(schema: pa.Schema) -> None:
    times = [field for field in schema if pa.types.is_timestamp(field.type)]
    assert times
    assert {field.type for field in times} == {TIMESTAMP}
    assert pa.timestamp("ms", tz="UTC") == TIMESTAMP


def test_only_what_may_be_unknown_may_be_null() -> None:
    nullable = {name: [field.name for field in schema if field.nullable] for name, schema in SCHEMAS.items()}
    assert nullable == {
        "sightings": ["rssi_dbm"],
        "sensor minutes": [],
        "visits": ["entered_at", "left_at", "dwell_s"],
        "store minutes": [],
    }


def test_the_counting_columns_are_every_class_count_and_band() -> None:
    names = band_columns()
    assert names == SENSOR_MINUTES.names[-len(names) :]
    assert len(names) == 2 * 2 * (len(NEAR_BANDS_DBM) + 1)
    assert names[0] == "random_bursts_55"
    assert names[-1] == "stable_addresses_all"
    assert BANDS == ("55", "60", "65", "70", "75", "all")


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        pytest.param("address_class", "1=global, 2=associated, 3=random", id="classes"),
        pytest.param(
            "frame_kinds", "1=probe_request, 2=association_request, 4=authentication, 8=data", id="kinds of frame"
        ),
    ],
)
def test_a_reader_without_our_code_finds_what_a_code_of_a_sighting_means(name: str, codes: str) -> None:
    assert codes in SIGHTINGS_DESCRIBED.field(name).metadata[b"description"].decode()


def test_a_reader_without_our_code_finds_what_a_role_means() -> None:
    said = VISITS_DESCRIBED.field("role").metadata[b"description"]
    assert said == b"1=passer_by, 2=bounced, 3=visitor, 4=staff_or_fixed"


def test_a_code_never_changes_its_meaning() -> None:
    assert [(one.name, one.value) for one in AddressClass] == [("GLOBAL", 1), ("ASSOCIATED", 2), ("RANDOM", 3)]
    assert [(one.name, one.value) for one in Role] == [
        ("PASSER_BY", 1),
        ("BOUNCED", 2),
        ("VISITOR", 3),
        ("STAFF_OR_FIXED", 4),
    ]
    assert [one.value for one in FrameKind] == [1, 2, 4, 8]
