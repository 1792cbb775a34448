"""Bursts of whole chains of frames, against a plain walk along them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from footfall_collectors.bursts import FRAME, MAX_SILENCE_MS, MAX_SPAN_MS, FrameArray, collapse
from footfall_events.schemas import AddressClass

START_MS = 1_700_000_000_000


def _walked(frames: FrameArray) -> list[tuple[int, int, int]]:
    """Address, first and last of each burst of frames sorted by address, class and time."""
    found: list[tuple[int, int, int]] = []
    before = None
    for mac, of_class, ts_ms in zip(*(frames[name].tolist() for name in ("mac", "class", "ts")), strict=True):
        who = (mac, of_class, ts_ms // 60_000 if of_class == AddressClass.RANDOM else 0)
        joins = who == before and ts_ms - found[-1][2] <= MAX_SILENCE_MS and ts_ms - found[-1][1] <= MAX_SPAN_MS
        found.append((mac, found.pop()[1], ts_ms) if joins else (mac, ts_ms, ts_ms))
        before = who
    return found


def _air(seed: int, addresses: int, count: int, pauses_ms: tuple[int, ...]) -> FrameArray:
    rng = Random(seed)
    frames = np.zeros(count, FRAME)
    at = dict.fromkeys(range(addresses), START_MS)
    for row in range(count):
        mac = rng.randrange(addresses)
        at[mac] += rng.choice(pauses_ms)
        classes = (AddressClass.GLOBAL, AddressClass.RANDOM)
        frames[row] = (mac, classes[mac % 2], at[mac], -60, 2412, 1)
    return frames[np.lexsort((frames["ts"], frames["class"], frames["mac"]))]


@pytest.mark.parametrize("addresses", [1, 2, 7])
@pytest.mark.parametrize(
    "pauses_ms",
    [
        pytest.param((500,), id="never silent, spans end exactly"),
        pytest.param((0, 1, 999, 1_000), id="never silent"),
        pytest.param((0, 300, 1_000, 1_001), id="some silences, the shortest there are"),
        pytest.param((1_001, 70_000), id="single frames"),
    ],
)
def test_bursts_are_those_of_a_walk_along_the_frames(pauses_ms: tuple[int, ...], addresses: int) -> None:
    for seed in range(20):
        frames = _air(seed, addresses, 300, pauses_ms)
        found, burst = collapse(frames)
        assert found[["mac", "first", "last"]].tolist() == _walked(frames)
        assert burst.tolist() == sorted(burst.tolist())
        assert np.bincount(burst).tolist() == found["frames"].tolist()


def test_a_chain_without_end_takes_a_step_a_burst_and_not_a_look_at_every_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = _air(1, 3, 6_000, (500,))
    looked: list[int] = []
    right = np.searchsorted

    def searched(column: np.ndarray, values: np.ndarray, side: str) -> np.ndarray:
        looked.append(len(values))
        return right(column, values, side)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(np, "searchsorted", searched)
    found, _ = collapse(frames)
    assert len(found) > 280
    assert sum(looked) == len(found)
