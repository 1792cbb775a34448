"""Live capture on a kernel interface: the frames of a file, heard through scapy's socket, are judged alike."""

from __future__ import annotations

import os
from threading import Event, Thread

import pytest
from footfall_collectors.dot11 import Block
from footfall_collectors.sources.live import live_blocks

from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import OWN_BSSID, blocks_of, pcap, probe, run_blocks, session

FRAMES = [
    *(probe(f"00:1b:2f:00:00:{n:02x}", -50 - n) for n in range(20)),
    *(probe(f"02:00:00:00:00:{n:02x}") for n in range(20)),
    probe("dc:fb:48:00:00:01"),
    probe("01:00:00:00:00:01"),
    probe(OWN_BSSID),
    probe("00:1b:2f:00:00:01")[:20],
    b"\x00\x00\x40",
]


@pytest.fixture
def radio() -> VirtualRadio:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("no virtual radio: /dev/net/tun cannot be opened, or this is not root")
    return VirtualRadio("footfall0")


@pytest.mark.radio
def test_frames_on_the_air_are_judged_like_the_same_frames_in_a_file(radio: VirtualRadio) -> None:
    stop = Event()
    parts: list[Block] = []
    with radio:

        def listen() -> None:
            for part in live_blocks(radio.name, 30, stop):
                parts.append(part)
                heard = sum(len(one.ts_ms) for one in parts)
                if heard == 0:
                    radio.transmit(FRAMES[0])  # until the socket listens
                elif heard == 1:
                    for frame in FRAMES[1:]:
                        radio.transmit(frame)
                elif heard >= len(FRAMES):
                    stop.set()

        listener = Thread(target=listen)
        listener.start()
        listener.join(40)
    assert stop.is_set(), "not every frame was heard"
    times = [int(ts) for part in parts for ts in part.ts_ms]
    from_air, from_file = session(), session()
    run_blocks(parts, from_air)
    run_blocks(blocks_of(pcap(list(zip(times, FRAMES, strict=True)))), from_file)
    assert from_air.heard == from_file.heard
    assert from_air.heard.frames == len(FRAMES)
    assert from_air.heard.rejected == {"group_source": 1, "truncated": 1, "radiotap": 1}
    assert from_air.heard.ignored == {"ignored_oui": 1, "infrastructure": 1}
    assert from_air.heard.sightings == 20
