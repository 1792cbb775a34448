"""Runs a capture through a sensor's session without Kafka."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from footfall_collectors.dot11 import Block
from footfall_collectors.pseudonyms import EpochKey, Pseudonyms
from footfall_collectors.session import Batching, Output, SensorSession
from footfall_collectors.sources.pcap import blocks
from footfall_collectors.sources.unreadable import UnreadableCapture
from footfall_events.rows import encode_rows
from footfall_events.sighting_batches import encode_sightings
from footfall_events.stores import parse_chain

Row = dict[str, Any]
KEY = EpochKey(14_000, bytes(range(32)))
OWN_BSSID = "02:00:00:aa:bb:cc"
STORE: Row = {"id": "s", "sensors": ["x"], "own_bssids": [OWN_BSSID], "ignored_ouis": ["dc:fb:48"]}


def session(heartbeat_s: int = 60, max_rows: int = 2000, store: Row = STORE) -> SensorSession:
    chain = parse_chain({"stores": [store]})
    pseudonyms = Pseudonyms(KEY, chain.privacy.scope, "s")
    return SensorSession(
        chain.stores["s"], chain.privacy, "x", "boot", pseudonyms, Batching(heartbeat_s * 1000, max_rows)
    )


def run_blocks(parts: Sequence[Block], one: SensorSession) -> list[Output]:
    """Everything that the blocks, and then the end of the capture, give."""
    outputs: list[Output] = []
    end_ms = 0
    for part in parts:
        outputs += one.advance(part)
        end_ms = int(part.ts_ms[-1]) if len(part.ts_ms) else end_ms
    return [*outputs, *one.finish(end_ms)] if end_ms else outputs


def blocks_of(data: bytes) -> list[Block]:
    """Blocks of a capture, as far as it can be read."""
    found: list[Block] = []
    try:
        for part in blocks(io.BytesIO(data), "capture"):
            found.append(part)
    except UnreadableCapture:
        pass
    return found


def in_pieces(parts: Sequence[Block], size: int) -> list[Block]:
    """The same frames in smaller blocks."""
    return [part.slice(i, i + size) for part in parts for i in range(0, len(part.ts_ms), size)]


def run_file(path: Path, one: SensorSession) -> list[Output]:
    return run_blocks(blocks_of(path.read_bytes()), one)


def as_bytes(outputs: Sequence[Output]) -> list[bytes]:
    """What would be sent, byte for byte."""
    return [encode_sightings(o.header, o.rows) if o.header else encode_rows(o.rows) for o in outputs]


def pcap(frames: Sequence[tuple[int, bytes]], link_type: int = 127) -> bytes:
    """A capture of (epoch ms, bytes), microseconds, little-endian."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)]
    for ts_ms, data in frames:
        parts.append(struct.pack("<IIII", ts_ms // 1000, ts_ms % 1000 * 1000, len(data), len(data)) + data)
    return b"".join(parts)


def probe(mac: str, rssi_dbm: int = -60) -> bytes:
    """A probe request with a radiotap header of channel and signal."""
    radiotap = struct.pack("<BBHIHHb", 0, 0, 13, 0x28, 2412, 0, rssi_dbm)
    body = b"\x40\x00\x00\x00" + b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\xff" * 6 + b"\x00\x00"
    return radiotap + body


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """(epoch ms, bytes) of every frame."""
    return [
        (int(ts), part.data[start : start + length].tobytes())
        for part in blocks_of(data)
        for ts, start, length in zip(part.ts_ms, part.start, part.captured, strict=True)
    ]
