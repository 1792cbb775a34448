"""Captures in which phones are hard to tell apart, and the same ones with every random address renamed."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from random import Random

from footfall_estimates.truth import Level

from tests.oracle.frames import RANDOM, decide, from_bytes
from tests.oracle.store_settings import Row
from tests.unit.collector_runs import OWN_BSSID, frames_of, pcap

MINUTE_MS = 60_000
START_MS = 1_700_000_040_000
"""A minute's start."""
MINUTES = 30
GAP_S = 240
SHOP: Row = {
    "id": "s",
    "sensors": ["x"],
    "own_bssids": [OWN_BSSID],
    "ignored_ouis": ["de:ad:00"],
    "rule": {"name": "short", "gap_s": GAP_S},
}
BROADCAST, ELSEWHERE = "ff:ff:ff:ff:ff:ff", "06:00:00:00:00:01"
PROBE, AUTHENTICATION, ASSOCIATION, BEACON, DATA = b"\x40\x00", b"\xb0\x00", b"\x00\x00", b"\x80\x00", b"\x08\x01"
_ADDRESS_AT, _SEQUENCE_AT = 10, 22

Frame = tuple[int, bytes]
"""Epoch ms, and the bytes from radiotap on."""


@dataclass(frozen=True)
class World:
    """One capture of a store, and the people who were there."""

    capture: bytes
    store: Row
    levels: list[Level]


def crowded_borders(seed: int) -> World:
    """Half an hour of bursts about the borders of minutes, with phones that join the store's network and leave it."""
    rng = Random(seed)
    frames: list[Frame] = []
    wanderers = [local_address(rng) for _ in range(6)]
    guests = [local_address(rng) for _ in range(3)]
    owned = [f"00:1b:2f:00:00:{number:02x}" for number in range(3)]
    for guest in guests:
        frames += _stay(rng, guest)
    for minute in range(1, MINUTES):
        border_ms = START_MS + minute * MINUTE_MS
        for _ in range(rng.randrange(8)):
            phone = rng.choice([*wanderers, *wanderers, *guests, *owned])
            frames += _burst(rng, phone, border_ms + rng.choice((-10_001, -10_000, -1_000, -1, 0, 1, 20_000)))
    # Phones that share their networks: local addresses that beacon are no client's.
    for beacons in ("06:ab:cd:00:00:01", "02:ab:cd:00:00:02"):
        at_ms = START_MS + rng.randrange(MINUTES * MINUTE_MS)
        frames += [(at_ms, frame(rng, BEACON, beacons)), (at_ms + 5, frame(rng, PROBE, beacons))]
    frames += [(START_MS, frame(rng, PROBE, "de:ad:00:00:00:01"))]
    frames.sort(key=lambda one: one[0])
    # As by a driver that sets its clock back a little now and then.
    stamped = [(ts - rng.randrange(1, 40) if rng.random() < 0.05 else ts, data) for ts, data in frames]
    start_s = START_MS / 1000
    half, end = start_s + MINUTES * 15, start_s + MINUTES * 60
    return World(pcap(stamped), SHOP, [Level(start_s, half, 20), Level(half, end, 30)])


def _burst(rng: Random, phone: str, at_ms: int) -> list[Frame]:
    found = []
    for _ in range(rng.choice((1, 1, 2, 5, 14))):
        kind, receiver = rng.choice(((PROBE, BROADCAST), (AUTHENTICATION, OWN_BSSID), (ASSOCIATION, ELSEWHERE)))
        found.append((at_ms, frame(rng, kind, phone, receiver)))
        at_ms += rng.choice((0, 1, 400, 999, 1_000, 1_001))
    return found


def _stay(rng: Random, guest: str) -> list[Frame]:
    """Asks for networks, joins ours, is online, and is heard again after a silence about as long as the gap."""
    at_ms = START_MS + rng.randrange(MINUTES // 2) * MINUTE_MS + rng.choice((-1, 0, 59_990))
    found = [(at_ms, frame(rng, PROBE, guest)), (at_ms + 2, frame(rng, AUTHENTICATION, guest, OWN_BSSID))]
    for kind in (ASSOCIATION, DATA, DATA):
        at_ms += rng.choice((8, 900, 30_000))
        found.append((at_ms, frame(rng, kind, guest, OWN_BSSID)))
    at_ms += GAP_S * 1000 + rng.choice((0, 1))
    return [*found, (at_ms, frame(rng, PROBE, guest))]


def frame(rng: Random, kind: bytes, source: str, receiver: str = BROADCAST) -> bytes:
    """A frame of any strength, sequence number and contents; some are followed by a checksum."""
    has_checksum = rng.random() < 0.3
    strength_dbm = rng.choice((-50, -58, -65, -66, -90))
    radiotap = struct.pack("<BBHIBxHHb", 0, 0, 15, 0x2A, 0x10 * has_checksum, 2412, 0, strength_dbm)
    addresses = b"".join(bytes.fromhex(text.replace(":", "")) for text in (receiver, source, receiver))
    return radiotap + kind + bytes(2) + addresses + rng.randbytes(2 + rng.randrange(40) + 4 * has_checksum)


def local_address(rng: Random) -> str:
    """As a phone draws it for itself."""
    return bytes((rng.randrange(256) & 0xFC | 0x02, *rng.randbytes(5))).hex(":")


def renamed(world: World, rng: Random, *, early_ms: int = 0) -> bytes:
    """The capture with other random addresses: within each minute one for one, from minute to minute at will.

    What is random is judged frame by frame, as the oracle does: neither global nor associated at that frame. Names
    come from a pool so small that one minute's name is another phone's in the next, and may be any random address of
    the capture itself; none is ever an access point's, an associated phone's, or one that the store ignores. Sequence
    numbers and all that follows the header are drawn anew in each of those frames; lengths stay. Every
    minute begins `early_ms` too early.
    """
    frames = frames_of(world.capture)
    judged = decide([{"time_ms": ts, **from_bytes(data, radiotap=True)} for ts, data in frames], world.store)
    speakers: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for row in judged:
        if _is_random(row):
            speakers[(row["time_ms"] + early_ms) // MINUTE_MS][row["mac"]] = None
    pool = _free_names(rng, world.store, judged, 2 * max(map(len, speakers.values()), default=0))
    names = {
        minute: dict(zip(of_minute, rng.sample(pool, len(of_minute)), strict=True))
        for minute, of_minute in speakers.items()
    }
    return pcap(
        [
            (ts, _rewritten(rng, data, names[(ts + early_ms) // MINUTE_MS][row["mac"]]) if _is_random(row) else data)
            for (ts, data), row in zip(frames, judged, strict=True)
        ]
    )


def _is_random(row: Row) -> bool:
    return bool(row["outcome"] == "counted" and row["address_class"] == RANDOM)


def _free_names(rng: Random, store: Row, judged: list[Row], fresh: int) -> list[str]:
    taken = {row["transmitter"] for row in judged if "transmitter" in row and not _is_random(row)}
    taken.update(store["own_bssids"])
    pool = sorted({row["mac"] for row in judged if _is_random(row)} - taken)
    taken.update(pool)
    while fresh:
        name = local_address(rng)
        if name not in taken and name[:8] not in store["ignored_ouis"]:
            pool.append(name)
            taken.add(name)
            fresh -= 1
    return pool


def _rewritten(rng: Random, data: bytes, name: str) -> bytes:
    body = int.from_bytes(data[2:4], "little")
    address, sequence = body + _ADDRESS_AT, body + _SEQUENCE_AT
    return (
        data[:address]
        + bytes.fromhex(name.replace(":", ""))
        + data[address + 6 : sequence]
        + rng.randbytes(len(data) - sequence)
    )
