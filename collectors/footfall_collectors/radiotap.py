"""Radiotap headers of many frames at once: lengths, flags, channel and signal, as columns.

Only the first namespace's first six fields are read; what follows them is of no use here. Source: the
radiotap.org defined fields, each aligned to its own size relative to the header's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_SIGNAL = -128
"""Signal of a frame that reports none."""

_MIN_LENGTH = 8
_FIELDS = ((0, 8, 8), (1, 1, 1), (2, 1, 1), (3, 2, 4), (4, 1, 2), (5, 1, 1))  # bit, alignment, size
_FLAGS, _CHANNEL, _SIGNAL = 1, 3, 5
_MORE_WORDS = np.uint32(0x80000000)


@dataclass(frozen=True)
class RadiotapColumns:
    """One entry a frame; of a malformed header only `malformed` says anything."""

    malformed: NDArray[np.bool_]
    length: NDArray[np.int64]
    flags: NDArray[np.uint8]
    freq_mhz: NDArray[np.uint16]
    rssi_dbm: NDArray[np.int8]


def little32(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Little-endian 32-bit words at the places given."""
    words = np.zeros(len(at), np.uint32)
    for byte in range(4):
        words |= data[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return words


def read_headers(data: NDArray[np.uint8], start: NDArray[np.int64], captured: NDArray[np.int64]) -> RadiotapColumns:
    """Headers of the frames that begin at `start` and have `captured` bytes.

    `data` must go on for at least 16 bytes behind the last frame: places are computed before they are judged.
    """
    short = captured < _MIN_LENGTH
    at = np.where(short, 0, start)
    length = data[at + 2].astype(np.int64) | (data[at + 3].astype(np.int64) << 8)
    malformed = short | (data[at] != 0) | (length < _MIN_LENGTH) | (length > captured)
    present = little32(data, at + 4)
    place = np.full(len(start), 8, np.int64)
    chained = ~malformed & ((present & _MORE_WORDS) != 0)
    while chained.any():
        malformed |= chained & (place + 4 > length)
        chained &= ~malformed
        rows = np.flatnonzero(chained)
        word = little32(data, at[rows] + place[rows])
        place[rows] += 4
        chained[rows] = (word & _MORE_WORDS) != 0
    flags = np.zeros(len(start), np.uint8)
    freq = np.zeros(len(start), np.uint16)
    rssi = np.full(len(start), NO_SIGNAL, np.int8)
    for bit, alignment, size in _FIELDS:
        has = ~malformed & ((present >> np.uint32(bit)) & np.uint32(1)).astype(bool)
        aligned = (place + alignment - 1) & -alignment
        malformed |= has & (aligned + size > length)
        rows = np.flatnonzero(has & ~malformed)
        value = at[rows] + aligned[rows]
        if bit == _FLAGS:
            flags[rows] = data[value]
        elif bit == _CHANNEL:
            freq[rows] = data[value].astype(np.uint16) | (data[value + 1].astype(np.uint16) << 8)
        elif bit == _SIGNAL:
            rssi[rows] = data[value].view(np.int8)
        place = np.where(has, aligned + size, place)
    return RadiotapColumns(malformed, length, flags, freq, rssi)
