"""Live capture on a kernel interface: frames heard through scapy's socket are judged like those of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from threading import Event

import pytest
from footfall_collectors.collect import StoreRun
from footfall_collectors.dot11 import Block
from footfall_collectors.session import Batching
from footfall_collectors.sources.live import live_blocks
from footfall_events.errors import ConfigError
from footfall_events.stores import parse_chain

from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import KEY, OWN_BSSID, STORE, blocks_of, pcap, probe, run_blocks, session

pytestmark = pytest.mark.radio

FRAMES = [
    *(probe(f"00:1b:2f:00:00:{n:02x}", -50 - n) for n in range(20)),
    *(probe(f"02:00:00:00:00:{n:02x}") for n in range(20)),
    probe("dc:fb:48:00:00:01"),
    probe("01:00:00:00:00:01"),
    probe(OWN_BSSID),
    probe("00:1b:2f:00:00:01")[:20],
    b"\x00\x00\x40",
]
_numbers = count()
ACKNOWLEDGEMENT = probe(OWN_BSSID)[:13] + b"\xd4\x00\x00\x00" + bytes(6)


@pytest.fixture
def radio() -> Iterator[VirtualRadio]:
    # Scapy remembers an interface's number: a name is never used for two.
    with VirtualRadio(f"radio{os.getpid()}.{next(_numbers)}") as made:
        yield made


class Ear:
    """Listens on the radio; `hear` returns when so many more frames have come, or fails after its polls."""

    def __init__(self, radio: VirtualRadio, expression: str = "") -> None:
        self.stop = Event()
        self._blocks = live_blocks(radio.name, expression, None, self.stop)
        self.parts = [next(self._blocks)[0]]  # the first, empty one: from now on the socket listens

    def hear(self, number: int, polls: int = 40) -> list[Block]:
        fresh: list[Block] = []
        while sum(len(part.ts_ms) + part.kernel_drops for part in fresh) < number and polls:
            part = next(self._blocks)[0]
            fresh.append(part)
            polls -= not len(part.ts_ms)
        assert sum(len(part.ts_ms) + part.kernel_drops for part in fresh) == number
        self.parts += fresh
        return fresh


def test_frames_on_the_air_are_judged_like_the_same_frames_in_a_file(radio: VirtualRadio) -> None:
    ear = Ear(radio)
    for frame in FRAMES:
        radio.transmit(frame)
    ear.hear(len(FRAMES))
    times = [int(ts) for part in ear.parts for ts in part.ts_ms]
    from_air, from_file = session(), session()
    run_blocks(ear.parts, from_air)
    run_blocks(blocks_of(pcap(list(zip(times, FRAMES, strict=True)))), from_file)
    assert from_air.heard == from_file.heard
    assert from_air.heard.frames == len(FRAMES)
    assert from_air.heard.rejected == {"group_source": 1, "truncated": 1, "radiotap": 1}
    assert from_air.heard.ignored == {"ignored_oui": 1, "infrastructure": 1}
    assert from_air.heard.sightings == 20


def test_a_filter_keeps_frames_in_the_kernel(radio: VirtualRadio) -> None:
    ear = Ear(radio, "type mgt subtype probe-req")
    radio.transmit(ACKNOWLEDGEMENT)
    radio.transmit(FRAMES[0])
    (heard,) = (part for part in ear.hear(1) if len(part.ts_ms))
    assert heard.data[heard.start[0] : heard.start[0] + heard.captured[0]].tobytes() == FRAMES[0]


def test_what_the_kernel_dropped_is_counted_in_its_minute(radio: VirtualRadio) -> None:
    ear = Ear(radio)
    flood = 60_000  # more than the socket's buffer holds
    for _ in range(flood):
        radio.transmit(FRAMES[0])
    parts = ear.hear(flood)
    one = session()
    outputs = run_blocks(parts, one)
    rows = [row for output in outputs if not output.header for row in output.rows.to_pylist()]
    assert one.heard.kernel_drops > 0
    assert one.heard.frames + one.heard.kernel_drops == flood
    assert sum(row["kernel_drops"] for row in rows) == one.heard.kernel_drops
    assert sum(row["frames"] for row in rows) == one.heard.frames


def test_an_interface_that_goes_away_ends_the_run_with_what_was_heard_and_a_warning(radio: VirtualRadio) -> None:
    chain = parse_chain({"stores": [STORE]})
    run = StoreRun(chain.stores["s"], chain.privacy, KEY, Batching(5_000))

    def heard_then_down() -> Iterator[tuple[Block, int]]:
        for part, now_ms in live_blocks(radio.name, "", None, Event()):
            yield part, now_ms
            if len(part.ts_ms):
                radio.down()
            else:
                radio.transmit(FRAMES[0])

    outputs = list(run.live("x", "boot", heard_then_down()))
    assert [warning.split(":")[0] for warning in run.warnings] == [f"interface {radio.name}"]
    assert sum(output.rows.num_rows for output in outputs if output.header) == 1


@pytest.mark.parametrize(
    ("interface", "expression", "words"),
    [
        pytest.param("no-such-radio", "", "is it up, and are you root", id="no such interface"),
        pytest.param("lo", "", "monitor mode", id="not a radio"),
        pytest.param("", "type nonsense", "pcap-filter", id="a filter that cannot be compiled"),
    ],
)
def test_what_cannot_work_is_refused(radio: VirtualRadio, interface: str, expression: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        next(live_blocks(interface or radio.name, expression, None, Event()))
