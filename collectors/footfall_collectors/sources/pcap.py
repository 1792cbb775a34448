"""Capture files and pipes as blocks of frames: pcap in either byte order, micro- or nanoseconds, and pcapng."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from footfall_collectors.dot11 import BARE, RADIOTAP, Block
from footfall_collectors.sources.unreadable import UnreadableCapture

_MAGIC = {  # first four bytes: (byte order, units of the fraction in a millisecond)
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_MAX_FRAME = 262_144  # libpcap's own limit; a larger record means that the file is damaged
_BLOCK_BYTES = 8 * 1024 * 1024
_LONGEST_PAUSE_MS = 62 * 86_400_000


def boot_id(path: Path, batching: str) -> str:
    """Digest of the file and of how it is batched: the same replay twice is recognised as one."""
    digest = blake2b(batching.encode(), digest_size=8)
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def blocks(file: BinaryIO, name: str) -> Iterator[Block]:
    """Blocks of a capture as they can be read; raises UnreadableCapture after the last readable frame.

    The radio's clock never goes back: a frame stamped earlier takes the latest time so far.
    """
    latest_ms: int | None = None
    for block in _as_stamped(file, name):
        if block.link_type not in (RADIOTAP, BARE):
            raise UnreadableCapture(
                f"{name}: link type {block.link_type}; understood are {RADIOTAP} (radiotap) and {BARE} (802.11)"
            )
        if not len(block.ts_ms):
            continue
        start_ms = int(block.ts_ms[0]) if latest_ms is None else latest_ms
        ts_ms = np.maximum.accumulate(np.append(start_ms, block.ts_ms))
        # Heartbeats up to a damaged time would fill the memory.
        jumps = np.flatnonzero(np.diff(ts_ms) > _LONGEST_PAUSE_MS)
        good = int(jumps[0]) if len(jumps) else len(block.ts_ms)
        yield replace(block.slice(0, good), ts_ms=ts_ms[1 : good + 1])
        if len(jumps):
            raise UnreadableCapture(f"{name}: a frame is months later than the one before it; it ends here")
        latest_ms = int(ts_ms[-1])


def _as_stamped(file: BinaryIO, name: str) -> Iterator[Block]:
    """Blocks with the times that stand in the capture."""
    magic = _read(file, 4)
    if magic == _PCAPNG:
        # Scapy takes a second to import, and pcap files do not need it.
        from footfall_collectors.sources.pcapng import pcapng_blocks

        return pcapng_blocks(file, magic, name)
    if magic not in _MAGIC:
        raise UnreadableCapture(f"{name}: neither pcap nor pcapng")
    return _pcap_blocks(file, *_MAGIC[magic], name)


def _pcap_blocks(file: BinaryIO, order: str, fraction: int, name: str) -> Iterator[Block]:
    header = _read(file, 20)
    if len(header) < 20:
        raise UnreadableCapture(f"{name}: ends within its file header")
    link_type = struct.unpack(order + "I", header[16:])[0] & 0x0FFFFFFF
    rest = b""
    seen = 24
    while True:
        chunk = file.read1(_BLOCK_BYTES) if hasattr(file, "read1") else file.read(_BLOCK_BYTES)
        data = rest + chunk
        block, used, damaged = _records(data, order, fraction, link_type)
        yield block
        seen += used
        rest = data[used:]
        if damaged:
            raise UnreadableCapture(f"{name}: damaged record at byte {seen}; what stands before it was processed")
        if not chunk:
            break
    if rest:
        raise UnreadableCapture(f"{name}: cut off at byte {seen}; what stands before it was processed")


def _read(file: BinaryIO, count: int) -> bytes:
    """Up to `count` bytes, also from a pipe that gives them piecemeal."""
    found = b""
    while len(found) < count and (chunk := file.read(count - len(found))):
        found += chunk
    return found


def _records(data: bytes, order: str, fraction: int, link_type: int) -> tuple[Block, int, bool]:
    """Whole records of `data`, the bytes they take, and whether what follows cannot be a record."""
    headers, used, damaged = _headers(data, order)
    octets = np.frombuffer(data, np.uint8)
    seconds, part, captured = (_words(octets, headers + 4 * word, order) for word in range(3))
    return Block(octets, headers + 16, captured, seconds * 1000 + part // fraction, link_type), used, damaged


def _headers(data: bytes, order: str) -> tuple[NDArray[np.int64], int, bool]:
    """Where the headers of the whole records stand, where the last record ends, and whether the next one is damaged.

    A record says only where the next one begins, so they would have to be followed one by one. Instead all places
    that look like a header are found at once, and runs of them in which each ends where the next begins are followed
    in one step. The guesses decide how long this takes, never what is found.
    """
    captured_at = struct.Struct(order + "8xI").unpack_from
    guesses, follows = _guesses(np.frombuffer(data, np.uint8), order)
    # The last guess of each run.
    lasts = np.flatnonzero(np.append(guesses[1:] != follows[:-1], True))
    found: list[NDArray[np.int64]] = []
    place = 0
    while place + 16 <= len(data):
        first = int(np.searchsorted(guesses, place))
        if first < len(guesses) and guesses[first] == place:
            last = int(lasts[np.searchsorted(lasts, first)])
            found.append(guesses[first : last + 1])
            place = int(follows[last])
            continue
        (captured,) = captured_at(data, place)
        if captured > _MAX_FRAME or place + 16 + captured > len(data):
            return _joined(found), place, captured > _MAX_FRAME
        found.append(np.array([place]))
        place += 16 + captured
    return _joined(found), place, False


def _guesses(octets: NDArray[np.uint8], order: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places that look like the header of a record that is whole, and where such a record would end.

    It would be of about the time of the first, and its lengths have nothing in their highest octets. None at all if
    more places look so than there can be headers: where a clock says 1970, every zero does.
    """
    high = 3 if order == "<" else 0  # of four octets
    room = len(octets) - 15
    if room <= 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # The highest octet of seconds stays for 194 days; the next is as good.
    looks = octets[high : room + high] - octets[high] <= 1
    for word in (2, 3):
        looks &= octets[4 * word + high :][:room] == 0
    if np.count_nonzero(looks) > len(octets) // 16:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    guesses = np.flatnonzero(looks)
    captured = _words(octets, guesses + 8, order)
    follows = guesses + 16 + captured
    whole = (captured <= _MAX_FRAME) & (follows <= len(octets))
    return guesses[whole], follows[whole]


def _joined(places: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(places) if places else np.empty(0, np.int64)


def _words(octets: NDArray[np.uint8], at: NDArray[np.int64], order: str) -> NDArray[np.int64]:
    """32-bit words at the places given."""
    words = np.zeros(len(at), np.int64)
    for octet in range(4):
        words |= octets[at + octet].astype(np.int64) << (8 * octet if order == "<" else 24 - 8 * octet)
    return words
