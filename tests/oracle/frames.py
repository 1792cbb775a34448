"""Frames of a capture as tshark sees them, and what becomes of each: rejected, ignored or counted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.oracle.store_settings import Row, settings_at

GLOBAL, ASSOCIATED, RANDOM = 1, 2, 3
PROBE_REQUEST, ASSOCIATION_REQUEST, AUTHENTICATION, DATA = 1, 2, 4, 8

RADIOTAP, BARE = "23", "20"
"""Wireshark's numbers for link types 127 and 105."""

FIELDS = (
    "frame.number",
    "frame.encap_type",
    "frame.time_epoch",
    "frame.cap_len",
    "radiotap.version",
    "radiotap.length",
    "radiotap.present.ext",
    "radiotap.present.flags",
    "radiotap.present.channel",
    "radiotap.present.dbm_antsignal",
    "radiotap.flags.badfcs",
    "radiotap.flags.fcs",
    "radiotap.channel.freq",
    "radiotap.dbm_antsignal",
    "wlan.fc.version",
    "wlan.fc.type",
    "wlan.fc.subtype",
    "wlan.fc.tods",
    "wlan.fc.fromds",
    "wlan.ra",
    "wlan.ta",
    "radiotap.data_past_header",
    "_ws.malformed",
)


class UnsupportedCaptureError(Exception):
    """Neither radiotap nor bare 802.11, or nothing that tshark can read."""


def read_frames(path: Path) -> list[Row]:
    """Every frame of a capture: `time_ms`, and either `problem` or the header's facts."""
    output = _tshark(path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=f", *_each_field())
    lines = output.splitlines()
    seen = [dict(zip(FIELDS, line.split("|"), strict=True)) for line in lines]
    for fields in seen:
        if fields["frame.encap_type"] not in (RADIOTAP, BARE):
            raise UnsupportedCaptureError(f"{path.name}: encapsulation {fields['frame.encap_type']}")
    troubled = [fields["frame.number"] for fields in seen if not _is_plain(fields)]
    raw = _raw_bytes(path, troubled)
    frames = []
    latest_ms: int | None = None
    for fields in seen:
        stamped_ms = epoch_ms(fields["frame.time_epoch"])
        latest_ms = stamped_ms if latest_ms is None else max(latest_ms, stamped_ms)
        if fields["frame.number"] in raw:
            frame = from_bytes(raw[fields["frame.number"]], radiotap=fields["frame.encap_type"] == RADIOTAP)
        else:
            frame = from_fields(fields)
        frames.append({"time_ms": latest_ms, **frame})
    return frames


def epoch_ms(text: str) -> int:
    """Milliseconds of tshark's decimal seconds, the rest cut off."""
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1000 + int((fraction + "000")[:3])


def from_fields(fields: dict[str, str]) -> Row:
    """Facts of a frame whose every header tshark dissected without complaint."""
    rssi: int | None = None
    freq = 0
    rest = int(fields["frame.cap_len"])
    if fields["frame.encap_type"] == RADIOTAP:
        rest -= int(fields["radiotap.length"])
        if fields["radiotap.present.dbm_antsignal"] == "1":
            rssi = int(fields["radiotap.dbm_antsignal"])
        if fields["radiotap.present.channel"] == "1":
            freq = int(fields["radiotap.channel.freq"])
        if fields["radiotap.present.flags"] == "1":
            if fields["radiotap.flags.badfcs"] == "1":
                return {"problem": "bad_fcs"}
            if fields["radiotap.flags.fcs"] == "1":
                rest -= 4
    if rest < 24:
        return {"problem": "truncated"}
    return {
        "problem": None,
        "type": int(fields["wlan.fc.type"]),
        "subtype": int(fields["wlan.fc.subtype"]),
        "to_ds": fields["wlan.fc.tods"] == "1",
        "from_ds": fields["wlan.fc.fromds"] == "1",
        "receiver": fields["wlan.ra"],
        "transmitter": fields["wlan.ta"],
        "rssi_dbm": plausible(rssi),
        "freq_mhz": freq,
    }


def from_bytes(data: bytes, *, radiotap: bool) -> Row:
    """The same facts, read byte by byte, for a frame tshark has no clean view of."""
    rssi: int | None = None
    freq = 0
    if radiotap:
        header = _radiotap(data)
        if header is None:
            return {"problem": "radiotap"}
        if header["flags"] & 0x40:
            return {"problem": "bad_fcs"}
        data = data[header["length"] :]
        if header["flags"] & 0x10:
            if len(data) < 4:
                return {"problem": "truncated"}
            data = data[:-4]
        rssi, freq = header["rssi"], header["freq"]
    if len(data) < 2:
        return {"problem": "truncated"}
    if data[0] & 0b11:
        return {"problem": "dot11_version"}
    kind, subtype = (data[0] >> 2) & 0b11, data[0] >> 4
    if kind in (0, 2) and len(data) < 24:
        return {"problem": "truncated"}
    return {
        "problem": None,
        "type": kind,
        "subtype": subtype,
        "to_ds": bool(data[1] & 0x01),
        "from_ds": bool(data[1] & 0x02),
        "receiver": data[4:10].hex(":"),
        "transmitter": data[10:16].hex(":"),
        "rssi_dbm": plausible(rssi),
        "freq_mhz": freq,
    }


def plausible(rssi: int | None) -> int | None:
    """A signal between -120 and -5 dBm, or nothing."""
    return rssi if rssi is not None and -120 <= rssi <= -5 else None


def _radiotap(data: bytes) -> Row | None:
    """Length, flags, frequency and signal of the first namespace; None if the header is malformed."""
    if len(data) < 8 or data[0] != 0:
        return None
    length = int.from_bytes(data[2:4], "little")
    if not 8 <= length <= len(data):
        return None
    first_word = int.from_bytes(data[4:8], "little")
    place, word = 8, first_word
    while word & 0x80000000:
        if place + 4 > length:
            return None
        word = int.from_bytes(data[place : place + 4], "little")
        place += 4
    header: Row = {"length": length, "flags": 0, "freq": 0, "rssi": None}
    fields = ((0, 8, 8), (1, 1, 1), (2, 1, 1), (3, 2, 4), (4, 1, 2), (5, 1, 1))
    for bit, alignment, size in fields:
        if not first_word & (1 << bit):
            continue
        while place % alignment:
            place += 1
        if place + size > length:
            return None
        value = data[place : place + size]
        if bit == 1:
            header["flags"] = value[0]
        if bit == 3:
            header["freq"] = int.from_bytes(value[:2], "little")
        if bit == 5:
            header["rssi"] = int.from_bytes(value, "little", signed=True)
        place += size
    return header


def decide(frames: list[Row], store: Row) -> list[Row]:
    """What becomes of every frame, in order: `outcome`, `reason`, and for counted ones class and kind.

    `store` is the store's table as the TOML file has it. Memories of addresses are unbounded here.
    """
    infrastructure: set[str] = set()
    associated: dict[str, int] = {}
    return [
        {**frame, **_outcome(frame, settings_at(store, frame["time_ms"]), infrastructure, associated)}
        for frame in frames
    ]


def _outcome(frame: Row, settings: Row, infrastructure: set[str], associated: dict[str, int]) -> Row:
    if frame["problem"]:
        return {"outcome": "rejected", "reason": frame["problem"]}
    if frame["type"] in (1, 3):
        return {"outcome": "ignored", "reason": "not_client"}
    mac = frame["transmitter"]
    first_octet = int(mac[:2], 16)
    if first_octet & 0x01:
        return {"outcome": "rejected", "reason": "group_source"}
    if mac == "00:00:00:00:00:00":
        return {"outcome": "rejected", "reason": "zero_source"}
    if mac in settings["own_bssids"]:
        return {"outcome": "ignored", "reason": "infrastructure"}
    if frame["type"] == 0 and frame["subtype"] in (8, 5):
        infrastructure.add(mac)
    if mac in infrastructure:
        return {"outcome": "ignored", "reason": "infrastructure"}
    kind = _kind(frame, settings["own_bssids"])
    if kind is None:
        return {"outcome": "ignored", "reason": "not_client"}
    if mac[:8] in settings["ignored_ouis"]:
        return {"outcome": "ignored", "reason": "ignored_oui"}
    joins = kind == DATA or (kind == ASSOCIATION_REQUEST and frame["receiver"] in settings["own_bssids"])
    address_class = _class_of(frame, joins, settings["rule"]["gap_s"], associated)
    return {"outcome": "counted", "reason": None, "mac": mac, "kind": kind, "address_class": address_class}


def _kind(frame: Row, own_bssids: set[str]) -> int | None:
    if frame["type"] == 0:
        kinds = {4: PROBE_REQUEST, 0: ASSOCIATION_REQUEST, 2: ASSOCIATION_REQUEST, 11: AUTHENTICATION}
        return kinds.get(frame["subtype"])
    to_us = frame["to_ds"] and not frame["from_ds"] and frame["receiver"] in own_bssids
    return DATA if to_us else None


def _class_of(frame: Row, joins: bool, gap_s: int, associated: dict[str, int]) -> int:
    mac, now_ms = frame["transmitter"], frame["time_ms"]
    if not int(mac[:2], 16) & 0x02:
        return GLOBAL
    remembered = mac in associated and now_ms - associated[mac] <= gap_s * 1000
    if joins or remembered:
        associated[mac] = now_ms
        return ASSOCIATED
    return RANDOM


def _is_plain(fields: dict[str, str]) -> bool:
    """Whether tshark's fields tell all there is to know of this frame."""
    if fields["radiotap.data_past_header"] or fields["_ws.malformed"]:
        return False
    if fields["frame.encap_type"] == RADIOTAP:
        if fields["radiotap.version"] != "0" or not fields["radiotap.length"]:
            return False
        if fields["radiotap.present.ext"] != "0":  # it shows no fields of a header whose chain is cut off
            return False
        if not 8 <= int(fields["radiotap.length"]) <= int(fields["frame.cap_len"]):
            return False
        for promised, value in (
            ("radiotap.present.flags", "radiotap.flags.fcs"),
            ("radiotap.present.channel", "radiotap.channel.freq"),
            ("radiotap.present.dbm_antsignal", "radiotap.dbm_antsignal"),
        ):
            if fields[promised] == "1" and not fields[value]:
                return False
    return (
        fields["wlan.fc.version"] == "0"
        and fields["wlan.fc.type"] in ("0", "2")
        and all(fields[name] for name in ("wlan.ra", "wlan.ta", "wlan.fc.tods", "wlan.fc.fromds"))
    )


def _each_field() -> list[str]:
    return [part for name in FIELDS for part in ("-e", name)]


def _raw_bytes(path: Path, numbers: list[str]) -> dict[str, bytes]:
    """Captured bytes of some frames by number, from tshark's raw view."""
    raw: dict[str, bytes] = {}
    for start in range(0, len(numbers), 500):
        wanted = numbers[start : start + 500]
        chosen = f"frame.number in {{{','.join(wanted)}}}"
        packets: list[Any] = json.loads(_tshark(path, "-Y", chosen, "-T", "jsonraw", "-j", "frame") or "[]")
        for number, packet in zip(wanted, packets, strict=True):
            raw[number] = bytes.fromhex(packet["_source"]["layers"]["frame_raw"][0])
    return raw


def _tshark(path: Path, *arguments: str) -> str:
    """tshark's output; of a capture cut short the part before the cut."""
    command = ["tshark", "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        raise UnsupportedCaptureError(f"{path.name}: {done.stderr.strip()[-200:]}")
    return done.stdout
