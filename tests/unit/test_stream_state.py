"""State as `checkpoints.v1` holds it comes back as it was; what a newer release wrote stops the worker."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from footfall_events.errors import ConfigError
from footfall_streams import state
from footfall_streams.minutes import MINUTE
from footfall_streams.presences import PRESENCE
from footfall_streams.state import FORMAT, Progress, read_json, read_rows, write_json, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

DTYPES = {"presences": PRESENCE, "minutes": MINUTE}
unhurried = settings(deadline=None)
every_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
NEWER = f"state of format {FORMAT + 1}, this release reads up to {FORMAT}: upgrade this worker"


def rows(dtype: np.dtype[np.void], count: int) -> NDArray[np.void]:
    """Rows of any bytes."""
    noise = np.random.default_rng(count).integers(0, 256, count * dtype.itemsize, np.uint8)
    return noise.view(dtype)


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


@every_dtype
@pytest.mark.parametrize("count", [0, 1, 5])
def test_rows_come_back_byte_for_byte_and_may_be_written_to(dtype: np.dtype[np.void], count: int) -> None:
    sent = rows(dtype, count)
    got = read_rows(write_rows(sent), "presences", dtype)
    assert got.dtype == dtype
    assert got.tobytes() == sent.tobytes()
    assert got.flags.writeable


@every_dtype
def test_a_row_takes_its_fixed_width_behind_one_byte_of_format(dtype: np.dtype[np.void]) -> None:
    value = write_rows(rows(dtype, 3))
    assert (len(value), value[0]) == (1 + 3 * dtype.itemsize, FORMAT)


def test_rows_that_are_a_part_of_others_are_written_alone() -> None:
    whole = rows(PRESENCE, 6)
    assert read_rows(write_rows(whole[::2]), "presences", PRESENCE).tobytes() == b"".join(
        row.tobytes() for row in whole[::2]
    )


def test_progress_of_a_newer_release_is_refused() -> None:
    newer = Progress(1, 0, "id").to_bytes().replace(b'"format": %d' % FORMAT, b'"format": %d' % (FORMAT + 1))
    with pytest.raises(ConfigError, match=NEWER):
        Progress.from_bytes(newer)


def test_a_json_entry_of_a_newer_release_is_refused_whatever_else_it_holds() -> None:
    with pytest.raises(ConfigError, match=NEWER):
        read_json(json.dumps({"format": FORMAT + 1, "unheard_of": [1, 2]}).encode())


@every_dtype
def test_rows_of_a_newer_release_are_refused_before_their_bytes_are_read(dtype: np.dtype[np.void]) -> None:
    with pytest.raises(ConfigError, match=NEWER):
        read_rows(bytes([FORMAT + 1]) + bytes(dtype.itemsize + 3), "presences", dtype)


def test_rows_of_an_older_release_are_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    old = np.dtype([("first", "i8"), ("gone", "u1")])
    new = np.dtype([("first", "i8"), ("added", "i4")])
    value = write_rows(np.array([(7, 1), (8, 0)], old))
    monkeypatch.setattr(state, "FORMAT", FORMAT + 1)
    monkeypatch.setattr(state, "OLDER_ROWS", {FORMAT: {"presences": old}})
    assert read_rows(value, "presences", new).tolist() == [(7, 0), (8, 0)]
    assert read_json(json.dumps({"format": FORMAT, "a": 1}).encode()) == {"a": 1}
    assert read_rows(write_rows(np.array([(7, 1)], new)), "presences", new).tolist() == [(7, 1)]
