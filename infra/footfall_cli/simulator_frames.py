"""How a simulated frame looks on disk: radiotap and 802.11 bytes, packed by kind into a pcap file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from footfall_cli.simulator_radio import BROADCAST, Frames, Kind
from footfall_cli.simulator_site import Sensor

PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 127)
RADIOTAP_BYTES = 24
_RECORD_BYTES = 16
# TSFT, flags, rate, channel, antenna signal, antenna.
_PRESENT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 11
_FLAGS_AT, _SIGNAL_AT = 16, 22
_FCS_AT_END, _BAD_FCS = 0x10, 0x40
_CHUNK = 20_000

_RATES = bytes.fromhex("010802040b160c121824") + bytes.fromhex("32043048606c")
_HT = bytes.fromhex("2d1aef0117ff") + bytes(22)
_GUEST_NETWORK = b"\x00\x0cguest-wlan-1"
_HEADER = struct.Struct("<BBH6s6s6sH")
_GATEWAY = 0x00005E000101

_FRAME_CONTROL = {
    Kind.PROBE: (0x40, 0),
    Kind.AUTHENTICATION: (0xB0, 0),
    Kind.ASSOCIATION: (0x00, 0),
    Kind.REASSOCIATION: (0x20, 0),
    Kind.DATA: (0x88, 0x41),
    Kind.NULL: (0x48, 0x11),
    Kind.BEACON: (0x80, 0),
    Kind.ACK: (0xD4, 0),
}
_BODY = {
    Kind.PROBE: b"\x00\x00" + _RATES + _HT,
    Kind.AUTHENTICATION: struct.pack("<HHH", 0, 1, 0),
    Kind.ASSOCIATION: struct.pack("<HH", 0x0431, 10) + _GUEST_NETWORK + _RATES + _HT,
    Kind.REASSOCIATION: struct.pack("<HH6s", 0x0431, 10, bytes(6)) + _GUEST_NETWORK + _RATES + _HT,
    Kind.DATA: b"\x00\x00" + bytes(range(8)) + bytes(24),
    Kind.NULL: b"",
    Kind.BEACON: bytes(8) + struct.pack("<HH", 100, 0x0431) + _GUEST_NETWORK + _RATES + _HT,
}


def _template(kind: Kind) -> bytes:
    """A frame of this kind without radiotap or FCS; addresses and sequence number are patched in."""
    if kind is Kind.ACK:
        return bytes((0xD4, 0, 0, 0)) + bytes(6)
    if kind is Kind.TRUNCATED:
        return b"\x40"
    shape = kind if kind in _FRAME_CONTROL else Kind.PROBE
    control, flags = _FRAME_CONTROL[shape]
    if kind is Kind.BAD_VERSION:
        control |= 1
    frame = _HEADER.pack(control, flags, 0, b"\xff" * 6, bytes(6), b"\xff" * 6, 0) + _BODY[shape]
    return frame[:20] if kind is Kind.SHORT_HEADER else frame


def _radiotap(kind: Kind, sensor: Sensor) -> bytes:
    version = 3 if kind is Kind.BAD_RADIOTAP else 0
    length = 60_000 if kind is Kind.BAD_LENGTH else RADIOTAP_BYTES
    flags = (_FCS_AT_END if sensor.keeps_fcs else 0) | (_BAD_FCS if kind is Kind.BAD_FCS else 0)
    head = struct.pack("<BBHI", version, 0, length, _PRESENT)
    return head + struct.pack("<QBBHHbB", 0, flags, 2, sensor.freq_mhz, 0x00A0, 0, 0)


def write_frames(file: BinaryIO, sensor: Sensor, frames: Frames) -> int:
    """Append the frames as pcap records, in the order given; bytes written."""
    written = 0
    for start in range(0, len(frames), _CHUNK):
        written += file.write(_packed(sensor, frames.take(np.arange(start, min(start + _CHUNK, len(frames))))))
    return written


def _packed(sensor: Sensor, frames: Frames) -> memoryview:
    """Records of one chunk: each kind is a block of equal rows, scattered to where its frames belong."""
    templates = {kind: _radiotap(kind, sensor) + _template(kind) for kind in Kind}
    fcs = 4 if sensor.keeps_fcs else 0
    lengths = np.array([len(templates[kind]) + fcs + _RECORD_BYTES for kind in Kind], np.int64)[frames.kind]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    out = np.zeros(int(ends[-1]), np.uint8)
    for kind in Kind:
        rows = np.flatnonzero(frames.kind == kind)
        if len(rows):
            block = _block(kind, templates[kind], fcs, frames.take(rows), rows)
            out[starts[rows][:, None] + np.arange(block.shape[1])] = block
    view = out.data
    if fcs:
        for begin, end in _bodies(starts, ends):
            checked = zlib.crc32(view[begin : end - 4])
            view[end - 4 : end] = checked.to_bytes(4, "little")
    return view


def _bodies(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    head = _RECORD_BYTES + RADIOTAP_BYTES
    return zip((starts + head).tolist(), ends.tolist(), strict=True)


def _block(kind: Kind, template: bytes, fcs: int, frames: Frames, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    captured = len(template) + fcs
    block = np.zeros((len(frames), _RECORD_BYTES + captured), np.uint8)
    block[:, _RECORD_BYTES : _RECORD_BYTES + len(template)] = np.frombuffer(template, np.uint8)
    seconds, micros = np.divmod(frames.when_us, 1_000_000)
    record = np.stack([seconds, micros, np.full_like(seconds, captured), np.full_like(seconds, captured)], 1)
    block[:, :_RECORD_BYTES] = record.astype("<u4").view(np.uint8)
    radio = block[:, _RECORD_BYTES:]
    radio[:, 8:16] = frames.when_us.astype("<u8")[:, None].view(np.uint8)
    radio[:, _SIGNAL_AT] = frames.rssi_dbm.view(np.uint8)
    frame = radio[:, RADIOTAP_BYTES:]
    source, bssid = _source(kind, frames), _third(kind, frames)
    for at, address in ((4, frames.target), (10, source), (16, bssid)):
        if at + 6 <= len(template) - RADIOTAP_BYTES:
            frame[:, at : at + 6] = address.astype(">u8")[:, None].view(np.uint8)[:, 2:]
    if len(template) - RADIOTAP_BYTES >= 24:
        frame[:, 22:24] = ((rows % 4096) << 4).astype("<u2")[:, None].view(np.uint8)
    return block


def _source(kind: Kind, frames: Frames) -> NDArray[np.int64]:
    if kind is Kind.GROUP_SOURCE:
        return frames.source | np.int64(1 << 40)
    return np.zeros_like(frames.source) if kind is Kind.ZERO_SOURCE else frames.source


def _third(kind: Kind, frames: Frames) -> NDArray[np.int64]:
    if kind is Kind.BEACON:
        return frames.source
    if kind is Kind.DATA:
        return np.full_like(frames.source, _GATEWAY)
    if kind in (Kind.AUTHENTICATION, Kind.ASSOCIATION, Kind.REASSOCIATION, Kind.NULL):
        return frames.target
    return np.full_like(frames.source, BROADCAST)
