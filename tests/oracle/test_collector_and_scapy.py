"""A third opinion on single frames: what scapy dissects of them, on every capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from footfall_collectors.dot11 import COUNTED, RADIOTAP, AddressMemory, judge, mac_number
from footfall_collectors.radiotap import NO_SIGNAL
from footfall_collectors.sources.pcap import blocks
from footfall_collectors.sources.unreadable import UnreadableCapture
from footfall_events.stores import parse_chain
from scapy.layers.dot11 import Dot11, Dot11FCS, RadioTap

from tests.captures import BRNO, TCPDUMP
from tests.unit.collector_runs import STORE

pytestmark = pytest.mark.captures

MOST_FRAMES = 700
"""Scapy takes about a millisecond a frame: of a large file every n-th is compared."""
SETTINGS = parse_chain({"stores": [STORE]}).stores["s"].versions[0]


@pytest.mark.parametrize("path", [*BRNO, *TCPDUMP], ids=lambda path: path.stem)
def test_counted_frames_are_what_scapy_sees(path: Path) -> None:
    compared = 0
    with path.open("rb") as file:
        try:
            for block in blocks(file, path.name):
                if block.link_type != RADIOTAP:
                    continue
                frames = judge(block, SETTINGS, AddressMemory())
                for row in range(0, len(block.start), max(1, len(block.start) // MOST_FRAMES)):
                    if frames.verdict[row] == COUNTED:
                        data = block.data[block.start[row] : block.start[row] + block.captured[row]].tobytes()
                        ours = int(frames.mac[row]), int(frames.rssi_dbm[row]), int(frames.freq_mhz[row])
                        assert ours == _seen_by_scapy(data)
                        compared += 1
        except UnreadableCapture:
            pass  # what stands before the damage is compared
    assert compared >= 500 or path in TCPDUMP


def _seen_by_scapy(data: bytes) -> tuple[int, int, int]:
    """Transmitter, signal and frequency of one frame."""
    packet: Any = RadioTap(data)
    header = packet.getlayer(Dot11FCS) or packet.getlayer(Dot11)
    assert header.type in (0, 2)
    signal = packet.dBm_AntSignal
    plausible = signal is not None and -120 <= signal <= -5
    return mac_number(header.addr2), signal if plausible else NO_SIGNAL, packet.ChannelFrequency or 0
