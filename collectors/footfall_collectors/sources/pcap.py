"""Capture files and pipes: pcap in either byte order, micro- or nanoseconds, and pcapng, as blocks of frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from footfall_events.errors import FootfallError
from numpy.typing import NDArray

from footfall_collectors.dot11 import BARE, RADIOTAP, Block

_MAGIC = {  # first four bytes: (byte order, units of the fraction in a millisecond)
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_MAX_FRAME = 262_144  # libpcap's own limit; a larger record means that the file is damaged
_BLOCK_BYTES = 8 * 1024 * 1024


class UnreadableCapture(FootfallError):
    """A capture that cannot be read at all, or only up to a place; says which file and where."""


def boot_id(path: Path, batching: str) -> str:
    """Digest of the file and of how it is batched: the same replay twice is recognised as one."""
    digest = blake2b(batching.encode(), digest_size=8)
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def blocks(file: BinaryIO, name: str) -> Iterator[Block]:
    """Blocks of a capture as they can be read; raises UnreadableCapture after the last readable frame."""
    magic = _read(file, 4)
    if magic == _PCAPNG:
        yield from _pcapng(file, magic, name)
        return
    if magic not in _MAGIC:
        raise UnreadableCapture(f"{name}: neither pcap nor pcapng")
    order, fraction = _MAGIC[magic]
    header = _read(file, 20)
    if len(header) < 20:
        raise UnreadableCapture(f"{name}: ends within its file header")
    link_type = struct.unpack(order + "I", header[16:])[0] & 0x0FFFFFFF
    _check_link_type(link_type, name)
    clock = _Clock()
    rest = b""
    seen = 24
    unpack = struct.Struct(order + "IIII").unpack_from
    while True:
        chunk = file.read1(_BLOCK_BYTES) if hasattr(file, "read1") else file.read(_BLOCK_BYTES)
        data = rest + chunk
        block, used, damaged = _walk(data, unpack, fraction, link_type, clock)
        yield block
        seen += used
        rest = data[used:]
        if damaged:
            raise UnreadableCapture(f"{name}: damaged record at byte {seen}; what stands before it was processed")
        if not chunk:
            break
    if rest:
        raise UnreadableCapture(f"{name}: cut off at byte {seen}; what stands before it was processed")


class _Clock:
    """The radio's clock never goes back: a frame stamped earlier takes the latest time so far."""

    def __init__(self) -> None:
        self._latest = 0

    def forward(self, ts_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(ts_ms):
            return ts_ms
        moved = np.maximum(np.maximum.accumulate(ts_ms), self._latest)
        self._latest = int(moved[-1])
        return moved


def _read(file: BinaryIO, count: int) -> bytes:
    """Up to `count` bytes, also from a pipe that gives them piecemeal."""
    found = b""
    while len(found) < count and (chunk := file.read(count - len(found))):
        found += chunk
    return found


def _check_link_type(link_type: int, name: str) -> None:
    if link_type not in (RADIOTAP, BARE):
        raise UnreadableCapture(
            f"{name}: link type {link_type}; understood are {RADIOTAP} (radiotap) and {BARE} (802.11)"
        )


def _walk(
    data: bytes, unpack: Callable[[bytes, int], tuple[int, ...]], fraction: int, link_type: int, clock: _Clock
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
    ts_ms = clock.forward(np.array(times, np.int64))
    block = Block(
        np.frombuffer(data, np.uint8), np.array(starts, np.int64), np.array(lengths, np.int64), ts_ms, link_type
    )
    return block, place, damaged


def _pcapng(file: BinaryIO, magic: bytes, name: str) -> Iterator[Block]:
    """pcapng through scapy's reader: rare on sensors, so its speed does not matter."""
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapNgReader

    clock = _Clock()
    try:
        reader = RawPcapNgReader(name, file, magic)
        while True:
            frames = []
            try:
                for _ in range(10_000):
                    frames.append(reader.read_packet())
            except EOFError:
                if frames:
                    yield _scapy_block(frames, clock, name)
                return
            yield _scapy_block(frames, clock, name)
    except (Scapy_Exception, struct.error) as error:
        raise UnreadableCapture(f"{name}: damaged pcapng: {error}") from error


def _scapy_block(frames: list[tuple[bytes, object]], clock: _Clock, name: str) -> Block:
    link_types = {int(meta.linktype) for _, meta in frames}  # type: ignore[attr-defined]
    for link_type in link_types:
        _check_link_type(link_type, name)
    if len(link_types) > 1:
        raise UnreadableCapture(f"{name}: mixes link types {sorted(link_types)}; split it by interface")
    lengths = np.array([len(data) for data, _ in frames], np.int64)
    times = [
        ((meta.tshigh << 32) + meta.tslow) * 1000 // meta.tsresol  # type: ignore[attr-defined]
        for _, meta in frames
    ]
    data = np.frombuffer(b"".join(data for data, _ in frames), np.uint8)
    return Block(
        data, np.cumsum(lengths) - lengths, lengths, clock.forward(np.array(times, np.int64)), link_types.pop()
    )
