"""The oracle's own reading of frames: every reason by hand, and the real captures counted."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest

from tests.captures import BRNO, TCPDUMP
from tests.oracle.frames import (
    UnsupportedCaptureError,
    decide,
    epoch_ms,
    from_bytes,
    read_frames,
)
from tests.oracle.store_settings import Row

pytestmark = pytest.mark.tshark

ANY = "ff:ff:ff:ff:ff:ff"
PHONE, GUEST, GROUP = "00:1b:2f:00:00:02", "02:00:00:00:00:02", "01:00:00:00:00:02"
OWN, AP = "00:1b:2f:00:00:aa", "00:1b:2f:00:00:bb"
STORE: Row = {"id": "s", "own_bssids": [OWN.upper()], "ignored_ouis": ["DC-FB-48"]}


def dot11(kind: int, subtype: int, transmitter: str, receiver: str = ANY, direction: int = 0) -> bytes:
    addresses = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (receiver, transmitter, ANY))
    return bytes([subtype << 4 | kind << 2, direction, 0, 0]) + addresses + b"\x10\x00"


def radiotap(body: bytes, signal: int = -50, flags: int = 0) -> bytes:
    fields = struct.pack("<BxHHb", flags, 2412, 0x80, signal)
    header = struct.pack("<BBHI", 0, 0, 8 + len(fields), 1 << 1 | 1 << 3 | 1 << 5)
    return header + fields + body


def probe(mac: str = PHONE) -> bytes:
    return dot11(0, 4, mac) + b"\x00\x00"


def pcap(path: Path, frames: list[tuple[float, bytes]], link_type: int = 127) -> Path:
    blocks = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)]
    for seconds, data in frames:
        micros = round(seconds * 1_000_000)
        blocks.append(struct.pack("<IIII", micros // 10**6, micros % 10**6, len(data), len(data)) + data)
    path.write_bytes(b"".join(blocks))
    return path


def outcomes(path: Path, frames: list[bytes]) -> list[str]:
    stamped = [(1000.0 + place, frame) for place, frame in enumerate(frames)]
    decisions = decide(read_frames(pcap(path / "hand.pcap", stamped)), STORE)
    return [decision["reason"] or f"class {decision['address_class']}" for decision in decisions]


EACH_REASON = [
    pytest.param(radiotap(probe()), "class 1", id="a probe of a global address is counted"),
    pytest.param(radiotap(probe(GUEST)), "class 3", id="a local address is random"),
    pytest.param(radiotap(probe() + b"\0\0\0\0", flags=0x10), "class 1", id="a frame check is cut off"),
    pytest.param(radiotap(probe(), flags=0x40), "bad_fcs", id="a failed frame check is rejected"),
    pytest.param(radiotap(b"\x40\x00", flags=0x10), "truncated", id="too short for its frame check"),
    pytest.param(radiotap(probe()[:-4], flags=0), "truncated", id="23 bytes of management are too few"),
    pytest.param(radiotap(b"\x40"), "truncated", id="one byte is no frame"),
    pytest.param(b"\x01" + radiotap(probe())[1:], "radiotap", id="an unknown radiotap version"),
    pytest.param(b"\x00\x00\xff\x00\x00\x00\x00\x00" + probe(), "radiotap", id="a length past the end"),
    pytest.param(b"\x00\x00\x08\x00\x20\x00\x00\x00" + probe(), "radiotap", id="a field past the header's length"),
    pytest.param(b"\x00\x00\x08\x00\x00\x00\x00\x80" + probe(), "radiotap", id="a chain past the length"),
    pytest.param(radiotap(b"\x41" + probe()[1:]), "dot11_version", id="an unknown protocol version"),
    pytest.param(radiotap(dot11(1, 13, PHONE)), "not_client", id="a control frame is ignored"),
    pytest.param(radiotap(probe(GROUP)), "group_source", id="a group address cannot send"),
    pytest.param(radiotap(probe("00:00:00:00:00:00")), "zero_source", id="nor can the zero address"),
    pytest.param(radiotap(probe(OWN)), "infrastructure", id="our own network is not a client"),
    pytest.param(radiotap(dot11(0, 5, AP)), "infrastructure", id="nor one that answers probes"),
    pytest.param(radiotap(dot11(0, 12, PHONE)), "not_client", id="deauthentications are not counted"),
    pytest.param(radiotap(dot11(2, 0, PHONE, AP, 1)), "not_client", id="data to others is not counted"),
    pytest.param(radiotap(dot11(2, 4, GUEST, OWN, 1)), "class 2", id="data to us tells an association"),
    pytest.param(radiotap(dot11(2, 4, GUEST, OWN, 3)), "not_client", id="a bridge's data is not counted"),
    pytest.param(radiotap(dot11(0, 0, GUEST, OWN)), "class 2", id="so does an association request"),
    pytest.param(radiotap(dot11(0, 0, GUEST, AP)), "class 3", id="one to others does not"),
    pytest.param(radiotap(probe("dc:fb:48:00:00:01")), "ignored_oui", id="a listed vendor is ignored"),
]


@pytest.mark.parametrize(("frame", "wanted"), EACH_REASON)
def test_each_frame_ends_in_its_one_outcome(tmp_path: Path, frame: bytes, wanted: str) -> None:
    assert outcomes(tmp_path, [frame]) == [wanted]


def test_an_address_that_beacons_is_infrastructure_from_then_on(tmp_path: Path) -> None:
    frames = [radiotap(probe(AP)), radiotap(dot11(0, 8, AP)), radiotap(probe(AP))]
    assert outcomes(tmp_path, frames) == ["class 1", "infrastructure", "infrastructure"]


def test_an_association_is_remembered_for_the_gap_and_not_longer(tmp_path: Path) -> None:
    join, scan = radiotap(dot11(0, 0, GUEST, OWN)), radiotap(probe(GUEST))
    stamped = [(0.0, scan), (1.0, join), (901.0, scan), (1801.001, scan)]
    decisions = decide(read_frames(pcap(tmp_path / "a.pcap", stamped)), STORE)
    assert [decision["address_class"] for decision in decisions] == [3, 2, 2, 3]


def test_tshark_and_the_bytes_tell_the_same_of_every_sound_frame(tmp_path: Path) -> None:
    sound = [radiotap(probe(GUEST), -71), radiotap(dot11(2, 4, GUEST, OWN, 1), 20)]
    frames = read_frames(pcap(tmp_path / "a.pcap", [(1.0, frame) for frame in sound]))
    for frame, data in zip(frames, sound, strict=True):
        assert {key: value for key, value in frame.items() if key != "time_ms"} == from_bytes(data, radiotap=True)
    assert [frame["rssi_dbm"] for frame in frames] == [-71, None]
    assert frames[0]["freq_mhz"] == 2412


def test_time_is_cut_to_milliseconds_and_never_goes_back(tmp_path: Path) -> None:
    stamped = [(10.0019, radiotap(probe())), (9.5, radiotap(b"\x40")), (10.5, radiotap(probe()))]
    assert [frame["time_ms"] for frame in read_frames(pcap(tmp_path / "a.pcap", stamped))] == [
        10001,
        10001,
        10500,
    ]
    assert epoch_ms("1667901498.950999999") == 1667901498950
    assert epoch_ms("7") == 7000


def test_a_bare_capture_has_frames_without_signal(tmp_path: Path) -> None:
    frames = read_frames(pcap(tmp_path / "a.pcap", [(1.0, probe())], link_type=105))
    assert [(frame["rssi_dbm"], frame["freq_mhz"], frame["transmitter"]) for frame in frames] == [(None, 0, PHONE)]


def test_another_link_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCaptureError):
        read_frames(pcap(tmp_path / "a.pcap", [(1.0, bytes(60))], link_type=1))


def test_the_presence_word_of_another_namespace_is_not_read() -> None:
    # First word: flags only, and the chain bit; the second word has a signal that must not be taken.
    header = struct.pack("<BBHIIBb", 0, 0, 14, 0x80000002, 0x20, 0, -40)
    frame = from_bytes(header + probe(), radiotap=True)
    assert (frame["problem"], frame["rssi_dbm"]) == (None, None)


@pytest.mark.captures
def test_the_real_captures_have_the_frames_their_readme_names() -> None:
    counts = Counter({path.stem: len(read_frames(path)) for path in BRNO})
    assert sorted(counts.values()) == [3139, 15180, 16704, 18900, 19992]
    assert sum(counts.values()) == 73_915


@pytest.mark.captures
def test_every_malformed_capture_gets_an_outcome_for_each_frame() -> None:
    for path in TCPDUMP:
        decisions = decide(read_frames(path), {"id": "s"})
        assert decisions, path.name
        assert all(one["outcome"] in ("rejected", "ignored", "counted") for one in decisions)
