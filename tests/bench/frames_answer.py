"""What a capture's frames come to, from the fields of whoever dissected them: the rules once more, frame by frame.

Every contender's answer must be the same before anybody's speed is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from typing import Any, NamedTuple

from footfall_events.schemas import FrameKind

Answer = dict[str, Any]
"""Frames by verdict, counted frames by kind, distinct transmitters of those, and sums of their columns."""

NO_SIGNAL = -128
_KINDS = {
    4: FrameKind.PROBE_REQUEST,
    0: FrameKind.ASSOCIATION_REQUEST,
    2: FrameKind.ASSOCIATION_REQUEST,
    11: FrameKind.AUTHENTICATION,
}
_BEACON, _PROBE_RESPONSE = 8, 5
_TO_ACCESS_POINT = 1


class Seen(NamedTuple):
    """One frame. `is_sound`: its capture header is one, and says nothing of a wrong checksum; `room` are the bytes of
    the 802.11 frame. `type_subtype` is type * 16 + subtype; `direction` 1 is to an access point, 2 from one."""

    is_sound: bool
    room: int
    version: int = 0
    type_subtype: int = 0
    direction: int = 0
    receiver: str = ""
    transmitter: str = ""
    rssi_dbm: int | None = None
    freq_mhz: int = 0


def answer(frames: Iterable[Seen], own_bssids: Set[str], ignored_ouis: Set[str]) -> Answer:
    """`rejected` and `ignored` frames, and of the counted ones: `kinds`, `transmitters`, sums of signal and channel."""
    total = Counter[str]()
    kinds = Counter[str]()
    transmitters: set[str] = set()
    infrastructure = set(own_bssids)
    for frame in frames:
        verdict, kind = _verdict(frame, infrastructure, own_bssids, tuple(ignored_ouis))
        total[verdict] += 1
        if kind is not None:
            kinds[str(kind.name)] += 1
            transmitters.add(frame.transmitter)
            signal = frame.rssi_dbm
            total["rssi_dbm"] += signal if signal is not None and -120 <= signal <= -5 else NO_SIGNAL
            total["freq_mhz"] += frame.freq_mhz
    return {**total, "kinds": dict(kinds), "transmitters": len(transmitters)}


def _verdict(
    frame: Seen, infrastructure: set[str], own: Set[str], ignored: tuple[str, ...]
) -> tuple[str, FrameKind | None]:
    kind_of_frame, subtype = divmod(frame.type_subtype, 16)
    if not frame.is_sound or frame.room < 2 or frame.version:
        return "rejected", None
    if kind_of_frame not in (0, 2):
        return "ignored", None
    mac = frame.transmitter
    if frame.room < 24 or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        return "rejected", None
    if kind_of_frame == 0 and subtype in (_BEACON, _PROBE_RESPONSE):
        infrastructure.add(mac)
    if mac in infrastructure:
        return "ignored", None
    kind = _KINDS.get(subtype) if kind_of_frame == 0 else None
    if kind_of_frame == 2 and frame.direction == _TO_ACCESS_POINT and frame.receiver in own:
        kind = FrameKind.DATA
    if kind is None or mac.startswith(ignored):
        return "ignored", None
    return "counted", kind
