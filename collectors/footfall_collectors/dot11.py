"""What each captured frame is: rejected, ignored, or a client's, of which kind and class of address.

The one place where a frame is judged, for files, pipes and interfaces alike. Frames sent by clients count:
probe and (re)association requests, authentication, and data headers to an own BSSID. Sequence numbers,
information elements and SSIDs are never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from footfall_events.schemas import AddressClass, FrameKind
from footfall_events.stores import StoreSettings
from numpy.typing import NDArray

from footfall_collectors.radiotap import NO_SIGNAL, read_headers

RADIOTAP, BARE = 127, 105
"""Link types that are understood."""

COUNTED = 0
REJECTED = {1: "radiotap", 2: "bad_fcs", 3: "truncated", 4: "dot11_version", 5: "group_source", 6: "zero_source"}
IGNORED = {11: "not_client", 12: "infrastructure", 13: "ignored_oui"}
FIRST_IGNORED = 11

_BAD_FCS, _FCS_AT_END = 0x40, 0x10
_MANAGEMENT, _DATA = 0, 2
_PROBE_RESPONSE, _BEACON = 5, 8
_KINDS = {
    4: FrameKind.PROBE_REQUEST,
    0: FrameKind.ASSOCIATION_REQUEST,
    2: FrameKind.ASSOCIATION_REQUEST,
    11: FrameKind.AUTHENTICATION,
}
_REMEMBERED = 65_536
_PADDING = np.zeros(64, np.uint8)


@dataclass(frozen=True)
class Block:
    """Captured frames: `data` holds their bytes, frame i is `captured[i]` bytes from `start[i]` on.

    `ts_ms` is the radio's clock in epoch ms and never goes back. `kernel_drops` more frames were lost in the
    kernel since the block before.
    """

    data: NDArray[np.uint8]
    start: NDArray[np.int64]
    captured: NDArray[np.int64]
    ts_ms: NDArray[np.int64]
    link_type: int
    kernel_drops: int = 0

    def slice(self, begin: int, end: int) -> Block:
        part = slice(begin, end)
        return Block(self.data, self.start[part], self.captured[part], self.ts_ms[part], self.link_type)


@dataclass(frozen=True)
class Frames:
    """One row a frame. `verdict` is COUNTED or a key of REJECTED or IGNORED; the rest holds for counted ones."""

    ts_ms: NDArray[np.int64]
    verdict: NDArray[np.uint8]
    mac: NDArray[np.uint64]
    rssi_dbm: NDArray[np.int8]
    freq_mhz: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    address_class: NDArray[np.int8]


def mac_number(text: str) -> int:
    """`aa:bb:cc:dd:ee:ff` as the number that Frames.mac holds."""
    return int(text.replace(":", ""), 16)


@dataclass
class AddressMemory:
    """Addresses that beacon, and random ones that are associated here (with the time last heard); bounded."""

    infrastructure: dict[int, None] = field(default_factory=dict)
    associated: dict[int, int] = field(default_factory=dict)

    def trim(self) -> None:
        for remembered in (self.infrastructure, self.associated):
            while len(remembered) > _REMEMBERED:
                del remembered[next(iter(remembered))]


def _mac_at(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint64]:
    mac = np.zeros(len(at), np.uint64)
    for byte in range(6):
        mac = (mac << np.uint64(8)) | data[at + byte]
    return mac


def judge(block: Block, settings: StoreSettings, memory: AddressMemory) -> Frames:
    """Judge every frame of a block, in order; `memory` carries over to the next block."""
    count = len(block.start)
    data = np.concatenate([block.data, _PADDING])
    verdict = np.zeros(count, np.uint8)
    body, length = block.start, block.captured
    rssi, freq = np.full(count, NO_SIGNAL, np.int8), np.zeros(count, np.uint16)

    def settle(mask: NDArray[np.bool_], code: int) -> None:
        verdict[mask & (verdict == COUNTED)] = code

    if block.link_type == RADIOTAP:
        header = read_headers(data, block.start, block.captured)
        settle(header.malformed, 1)
        settle((header.flags & _BAD_FCS) != 0, 2)
        fcs = np.where(header.flags & _FCS_AT_END, 4, 0)
        body, length = block.start + header.length, block.captured - header.length - fcs
        rssi = np.where((header.rssi_dbm >= -120) & (header.rssi_dbm <= -5), header.rssi_dbm, NO_SIGNAL).astype(np.int8)
        freq = header.freq_mhz
    settle(length < 2, 3)
    body = np.where(verdict == COUNTED, body, 0)
    control, direction = data[body], data[body + 1]
    settle((control & 3) != 0, 4)
    kind_of_frame, subtype = (control >> 2) & 3, control >> 4
    settle((kind_of_frame != _MANAGEMENT) & (kind_of_frame != _DATA), 11)
    settle(length < 24, 3)
    body = np.where(verdict == COUNTED, body, 0)
    mac, receiver = _mac_at(data, body + 10), _mac_at(data, body + 4)
    settle((mac >> np.uint64(40)) & np.uint64(1) == 1, 5)
    settle(mac == 0, 6)
    own = np.array([mac_number(text) for text in settings.own_bssids], np.uint64)
    settle(np.isin(mac, own), 12)
    management = kind_of_frame == _MANAGEMENT
    beacons = (verdict == COUNTED) & management & ((subtype == _BEACON) | (subtype == _PROBE_RESPONSE))
    settle(_infrastructure(mac, beacons, memory), 12)
    to_us = np.isin(receiver, own)
    kind = np.zeros(count, np.uint8)
    for code, meaning in _KINDS.items():
        kind[management & (subtype == code)] = meaning
    kind[(kind_of_frame == _DATA) & ((direction & 3) == 1) & to_us] = FrameKind.DATA
    settle(kind == 0, 11)
    ouis = np.array([mac_number(text) for text in settings.ignored_ouis], np.uint64)
    settle(np.isin(mac >> np.uint64(24), ouis), 13)
    joins = (kind == FrameKind.DATA) | ((kind == FrameKind.ASSOCIATION_REQUEST) & to_us)
    classes = _classes(block.ts_ms, mac, joins, verdict == COUNTED, settings.rule.gap_s * 1000, memory)
    memory.trim()
    return Frames(block.ts_ms, verdict, mac, rssi, freq, kind, classes)


def _infrastructure(mac: NDArray[np.uint64], beacons: NDArray[np.bool_], memory: AddressMemory) -> NDArray[np.bool_]:
    """Frames whose transmitter has beaconed by then, this frame included."""
    known = np.isin(mac, np.array(list(memory.infrastructure), np.uint64))
    if beacons.any():
        places = np.flatnonzero(beacons)
        fresh, first = np.unique(mac[places], return_index=True)
        at = np.searchsorted(fresh, mac).clip(max=len(fresh) - 1)
        known |= (fresh[at] == mac) & (np.arange(len(mac)) >= places[first][at])
        memory.infrastructure.update(dict.fromkeys(fresh.tolist()))
    return known


def _classes(
    ts_ms: NDArray[np.int64],
    mac: NDArray[np.uint64],
    joins: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    gap_ms: int,
    memory: AddressMemory,
) -> NDArray[np.int8]:
    """Class of each transmitter's address at its frame; only those that join here need a look one by one."""
    local = ((mac >> np.uint64(41)) & np.uint64(1)) == 1
    classes = np.where(local, AddressClass.RANDOM, AddressClass.GLOBAL).astype(np.int8)
    joiners = np.concatenate([mac[counted & local & joins], np.array(list(memory.associated), np.uint64)])
    if not len(joiners):
        return classes
    associated = memory.associated
    for row in np.flatnonzero(counted & local & np.isin(mac, joiners)).tolist():
        address, now = int(mac[row]), int(ts_ms[row])
        heard = associated.get(address)
        if joins[row] or (heard is not None and now - heard <= gap_ms):
            associated.pop(address, None)  # the oldest stands first
            associated[address] = now
            classes[row] = AddressClass.ASSOCIATED
    return classes
