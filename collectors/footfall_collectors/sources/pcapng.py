"""pcapng through scapy's reader: rare on sensors, so its speed does not matter."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from scapy.error import Scapy_Exception
from scapy.utils import RawPcapNgReader

from footfall_collectors.dot11 import Block
from footfall_collectors.sources.unreadable import UnreadableCapture

_FRAMES_A_BLOCK = 10_000
_MAX_BLOCK = 16 * 1024 * 1024
_SECTION = 0x0A0D0D0A
_LATEST_MS = 2**42

_Frame = tuple[bytes, int, int]
"""Bytes, epoch ms, link type."""


class _WholeBlocks:
    """A pcapng file that ends, for its reader, with its last whole block; `trouble` tells if more stood there.

    Scapy takes a file cut within a block for one that ends there.
    """

    def __init__(self, file: BinaryIO, begun: bytes) -> None:
        self._file, self._begun = file, begun
        self._order = "<"
        self._ready = b""
        self.trouble = ""
        self.seen = 0

    def read(self, count: int) -> bytes:
        while len(self._ready) < count and (block := self._block()):
            self._ready += block
        found, self._ready = self._ready[:count], self._ready[count:]
        self.seen += len(found)
        return found

    def _block(self) -> bytes:
        """The next block; empty at the end, and at one that is cut off or damaged."""
        if self.trouble:
            return b""
        head = self._begun + self._exactly(12 - len(self._begun))
        self._begun = b""
        if not head:
            return b""
        if len(head) == 12 and head[:4] == _SECTION.to_bytes(4, "little"):
            self._order = ">" if head[8:] == b"\x1a\x2b\x3c\x4d" else "<"
        length = struct.unpack(self._order + "I", head[4:8])[0] if len(head) == 12 else 0
        if len(head) == 12 and not (12 <= length <= _MAX_BLOCK and length % 4 == 0):
            self.trouble = "damaged"
            return b""
        block = head + self._exactly(length - 12)
        if len(block) < max(length, 12):
            self.trouble = "cut off"
            return b""
        return block

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count and (chunk := self._file.read(count - len(found))):
            found += chunk
        return found


def pcapng_blocks(file: BinaryIO, magic: bytes, name: str) -> Iterator[Block]:
    """Blocks of one link type each, as stamped; raises UnreadableCapture after the last readable frame.

    A pipe's blocks hold one frame, so that nothing heard waits for more.
    """
    most = _FRAMES_A_BLOCK if file.seekable() else 1
    whole = _WholeBlocks(file, magic)
    frames: list[_Frame] = []
    try:
        for data, meta in RawPcapNgReader(whole):
            if frames and (len(frames) >= most or meta.linktype != frames[0][2]):
                yield _joined(frames)
                frames = []
            frames.append((data, _epoch_ms(meta), meta.linktype))
        # A clean end is one at which the reader has been given everything.
        trouble = whole.trouble or ("damaged" if whole.read(1) else "")
    except (Scapy_Exception, struct.error, ValueError) as error:
        trouble = f"damaged ({error})"
    if frames:
        yield _joined(frames)
    if trouble:
        raise UnreadableCapture(f"{name}: {trouble} near byte {whole.seen}; what stands before it was processed")


def _epoch_ms(meta: Any) -> int:
    if meta.tshigh is None:
        raise ValueError("a frame without a time")
    ts_ms: int = ((meta.tshigh << 32) + meta.tslow) * 1000 // meta.tsresol
    if ts_ms >= _LATEST_MS:
        raise ValueError("a time beyond any clock")
    return ts_ms


def _joined(frames: list[_Frame]) -> Block:
    lengths = np.array([len(data) for data, _, _ in frames], np.int64)
    times = np.array([ts_ms for _, ts_ms, _ in frames], np.int64)
    data = np.frombuffer(b"".join(data for data, _, _ in frames), np.uint8)
    return Block(data, np.cumsum(lengths) - lengths, lengths, times, frames[0][2])
