"""Capture files and pipes as blocks of frames: pcap in either byte order, micro- or nanoseconds, and pcapng."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

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
    unpack = struct.Struct(order + "IIII").unpack_from
    while True:
        chunk = file.read1(_BLOCK_BYTES) if hasattr(file, "read1") else file.read(_BLOCK_BYTES)
        data = rest + chunk
        block, used, damaged = _walk(data, unpack, fraction, link_type)
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


def _walk(
    data: bytes, unpack: Callable[[bytes, int], tuple[int, ...]], fraction: int, link_type: int
) -> tuple[Block, int, bool]:
    """Whole records of `data`, the bytes they take, and whether what follows cannot be a record."""
    place, end = 0, len(data)
    starts, lengths, times = [], [], []
    damaged = False
    while place + 16 <= end:
        seconds, part, captured, _ = unpack(data, place)
        if captured > _MAX_FRAME:
            damaged = True
            break
        if place + 16 + captured > end:
            break
        starts.append(place + 16)
        lengths.append(captured)
        times.append(seconds * 1000 + part // fraction)
        place += 16 + captured
    start, captured_bytes, ts_ms = (np.array(column, np.int64) for column in (starts, lengths, times))
    return Block(np.frombuffer(data, np.uint8), start, captured_bytes, ts_ms, link_type), place, damaged
