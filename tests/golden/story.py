"""The golden story as frames: who was heard when, by which sensor and how strongly, as two small captures."""

from __future__ import annotations

import struct
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.unit.collector_runs import pcap

DAY = "2026-03-02"
ZONE = ZoneInfo("Europe/Berlin")

# 00:00:5e:00:53 is reserved for examples (RFC 7042); the second bit of the first byte makes an address local.
VISITOR = "00:00:5e:00:53:01"
BOUNCED = "00:00:5e:00:53:02"
PASSER_BY = "00:00:5e:00:53:03"
STAFF = "00:00:5e:00:53:04"
BROWSER = "00:00:5e:00:53:05"
GUEST = "06:5e:53:b1:6c:01"
RANDOM, RENAMED = "d2:5e:53:1f:a7:07", "9a:5e:53:c4:2d:08"
SHOP_WIFI = "00:00:5e:00:53:f0"
EQUIPMENT = "dc:fb:48:00:00:01"

PROBE, JOIN, GREET, NULL, BEACON = 0x40, 0x00, 0xB0, 0x48, 0x80
_BODY = {
    PROBE: b"\x00\x00",
    GREET: bytes((0, 0, 1, 0, 0, 0)),
    JOIN: bytes((0x31, 4, 10, 0, 0, 0)),
    NULL: b"",
    BEACON: bytes((*range(8), 100, 0, 0x31, 4, 0, 0)),
}
NO_SIGNAL = 0  # dBm; nothing that a phone's antenna could mean
BROKEN = b"\x00\x00\xff\xff"  # a radiotap header longer than its frame

Heard = tuple[str, int, str, int]
"""Local time, kind of frame, sender, signal in dBm."""

DOOR: tuple[Heard, ...] = (
    ("08:58:05.000", BEACON, SHOP_WIFI, -48),
    ("08:58:10.000", PROBE, STAFF, -55),
    ("08:59:20.000", PROBE, EQUIPMENT, -70),
    ("09:00:00.000", PROBE, VISITOR, -62),
    ("09:00:00.700", PROBE, VISITOR, -64),
    ("09:00:01.500", PROBE, VISITOR, -63),
    ("09:01:00.000", PROBE, STAFF, -57),
    ("09:01:30.000", PROBE, BROWSER, -63),
    ("09:02:00.000", PROBE, BOUNCED, -60),
    ("09:03:30.000", PROBE, BOUNCED, -63),
    ("09:03:30.250", PROBE, VISITOR, -68),
    ("09:04:00.000", PROBE, RANDOM, -50),
    ("09:04:00.800", PROBE, RANDOM, -52),
    ("09:04:20.000", PROBE, RANDOM, -58),
    ("09:05:15.000", PROBE, PASSER_BY, -80),
    ("09:05:20.000", PROBE, PASSER_BY, NO_SIGNAL),
    ("09:06:00.000", PROBE, GUEST, -64),
    ("09:06:03.000", GREET, GUEST, -63),
    ("09:06:03.100", JOIN, GUEST, -63),
    ("09:06:03.200", NULL, GUEST, -62),
    ("09:07:00.000", PROBE, VISITOR, -60),
    ("09:08:00.000", NULL, GUEST, -60),
    ("09:10:30.000", PROBE, VISITOR, -66),
    ("09:11:00.000", NULL, GUEST, -61),
    ("09:12:30.000", NULL, GUEST, -63),
    ("09:13:10.000", PROBE, RENAMED, -51),
    ("09:14:00.000", PROBE, VISITOR, -59),
    ("09:14:30.000", PROBE, BROWSER, -62),
    ("09:17:30.000", PROBE, VISITOR, -72),
    ("09:20:00.000", PROBE, VISITOR, -64),
    ("09:20:40.000", PROBE, VISITOR, -85),
    ("09:22:00.000", BEACON, SHOP_WIFI, -48),
)
TILL: tuple[Heard, ...] = (
    ("09:04:30.000", BEACON, SHOP_WIFI, -40),
    ("09:05:00.000", PROBE, BROWSER, -58),
    ("09:08:30.000", PROBE, BROWSER, -55),
    ("09:08:31.000", PROBE, VISITOR, -50),
    ("09:09:00.000", NULL, GUEST, -52),
    ("09:11:45.000", PROBE, BROWSER, -57),
    ("09:12:15.000", BEACON, SHOP_WIFI, -40),
)
BROKEN_AT = "09:03:00.000"


def at_ms(local: str) -> int:
    """Epoch ms of a local time of the story's day."""
    return round(datetime.fromisoformat(f"{DAY} {local}").replace(tzinfo=ZONE).timestamp() * 1000)


def captures() -> dict[str, bytes]:
    """Each sensor's capture."""
    door = [(at_ms(local), _frame(kind, sender, dbm, 2412)) for local, kind, sender, dbm in DOOR]
    till = [(at_ms(local), _frame(kind, sender, dbm, 2437)) for local, kind, sender, dbm in TILL]
    return {"door": pcap(sorted([*door, (at_ms(BROKEN_AT), BROKEN)])), "till": pcap(till)}


def _frame(kind: int, sender: str, dbm: int, freq_mhz: int) -> bytes:
    radiotap = struct.pack("<BBHIHHb", 0, 0, 13, 0x28, freq_mhz, 0, dbm)
    to_all, shop, source = b"\xff" * 6, _address(SHOP_WIFI), _address(sender)
    receiver, network = (to_all, to_all) if kind == PROBE else (to_all, source) if kind == BEACON else (shop, shop)
    control = bytes((kind, 1 if kind == NULL else 0, 0, 0))
    return radiotap + control + receiver + source + network + b"\x00\x00" + _BODY[kind]


def _address(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
