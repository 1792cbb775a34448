"""State as `checkpoints.v1` holds it comes back as it was; what a newer release wrote stops the worker."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from footfall_events.errors import ConfigError
from footfall_events.rows import encode_rows
from footfall_streams.state import (
    FORMAT,
    Progress,
    State,
    hours_of_format_1,
    read_json,
    read_segment,
    segment_schema,
    write_json,
)
from hypothesis import given, settings
from hypothesis import strategies as st

unhurried = settings(deadline=None)
NEWER = f"state of format {FORMAT + 1}, this release reads up to {FORMAT}: upgrade this worker"


@unhurried
@given(st.integers(0, 2**63), st.integers(0, 2**15), st.text())
def test_progress_comes_back(next_offset: int, log_epoch: int, topic_id: str) -> None:
    progress = Progress(next_offset, log_epoch, topic_id)
    assert Progress.from_bytes(progress.to_bytes()) == progress


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@unhurried
@given(st.dictionaries(st.text().filter(lambda key: key != "format"), _json, max_size=4))
def test_a_json_entry_comes_back_without_its_format(entry: dict[str, Any]) -> None:
    value = write_json(entry)
    assert json.loads(value)["format"] == FORMAT
    assert read_json(value) == entry


def test_progress_of_a_newer_release_is_refused() -> None:
    newer = Progress(1, 0, "id").to_bytes().replace(b'"format": %d' % FORMAT, b'"format": %d' % (FORMAT + 1))
    with pytest.raises(ConfigError, match=NEWER):
        Progress.from_bytes(newer)


def test_a_json_entry_of_a_newer_release_is_refused_whatever_else_it_holds() -> None:
    with pytest.raises(ConfigError, match=NEWER):
        read_json(json.dumps({"format": FORMAT + 1, "unheard_of": [1, 2]}).encode())


def test_a_segment_of_a_newer_release_is_refused() -> None:
    schema = pa.schema([("unheard_of", pa.string())], {"format": str(FORMAT + 1)})
    with pytest.raises(ConfigError, match=NEWER):
        read_segment(encode_rows(pa.RecordBatch.from_pydict({"unheard_of": ["x"]}, schema)))


def test_a_segment_names_its_format() -> None:
    schema = segment_schema([pa.field("first", pa.int64())])
    batch = pa.RecordBatch.from_pydict({"first": [7]}, schema)
    assert schema.metadata == {b"format": str(FORMAT).encode()}
    assert read_segment(encode_rows(batch)).equals(batch)


FORMAT_1 = {
    b"presences/store-0003/494532": "018877665544332211030000001807f6e5d4c3b2a1070000007d500000"
    "7b1a0e839e010000587b0f839e010000"
    "e81d0e839e0100008f790f839e0100000c000000d7026712000000000000f9361d839e01000001",
    b"minutes/store-0003/494532": "01f0c1c40103000000050000000400000003000000"
    "020000000100000005000000000000000100efcdab8967452301",
}
"""What the last release of format 1 wrote for the rows below."""


def test_entries_of_format_1_are_read_as_they_were_written() -> None:
    entries: State = {key: bytes.fromhex(value) for key, value in FORMAT_1.items()}
    entries |= {b"presences/7": b"a segment", b"presences/store-0003/1": None, b"clock/store-0003": b"{}"}
    ((key, store, rows),) = hours_of_format_1(entries, "presences")
    assert (key, store) == (b"presences/store-0003/494532", "store-0003")
    first, last, entered, left = 1780315200123, 1780315290456, 1780315201000, 1780315289999
    identity = (0x1122334455667788, 3, 0xA1B2C3D4E5F60718, 7, 20605)
    assert rows.tolist() == [(*identity, first, last, entered, left, 12, -41, 2, 4711, 1780316190457, 1)]
    ((_, _, rows),) = hours_of_format_1(entries, "minutes")
    assert rows.tolist() == [((3 << 32) | 29671920, 5, 4, 3, 2, 1, 0b101, 1, 0, 0x0123456789ABCDEF)]
