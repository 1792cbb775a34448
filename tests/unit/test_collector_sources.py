"""Capture formats: the same frames in every spelling, and what was readable of a damaged one."""

from __future__ import annotations

import io
import os
import struct
from random import Random
from threading import Event

import pytest
from footfall_collectors.dot11 import Block
from footfall_collectors.sources.pcap import blocks
from footfall_collectors.sources.pipe import pipe
from footfall_collectors.sources.unreadable import UnreadableCapture

from tests.unit.collector_runs import pcap, probe

START_MS = 1_700_000_000_123
FRAMES = [(START_MS + n * 777, probe(f"00:1b:2f:00:00:{n:02x}", -40 - n)) for n in range(12)]
RADIOTAP, BARE, ETHERNET = 127, 105, 1


def _pcap(order: str, nanoseconds: bool) -> bytes:
    magic, fraction = (0xA1B23C4D, 1_000_000) if nanoseconds else (0xA1B2C3D4, 1_000)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, RADIOTAP)]
    for ts_ms, data in FRAMES:
        record = struct.pack(order + "IIII", ts_ms // 1000, ts_ms % 1000 * fraction + 7, len(data), len(data))
        parts.append(record + data)
    return b"".join(parts)


def _section_block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def _pcapng(order: str = "<", units: int = 6, link_types: tuple[int, ...] = (RADIOTAP,)) -> bytes:
    """One section; frame i was heard on interface i modulo their number, times in 10**-units seconds."""
    parts = [_section_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for link_type in link_types:
        resolution = struct.pack(order + "HHB3xHH", 9, 1, units, 0, 0)
        parts.append(_section_block(order, 1, struct.pack(order + "HHI", link_type, 0, 0) + resolution))
    for number, (ts_ms, data) in enumerate(FRAMES):
        stamp = ts_ms * 10 ** (units - 3)
        head = (number % len(link_types), stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
        parts.append(_section_block(order, 6, struct.pack(order + "IIIII", *head) + data))
    # Statistics at the end, which hold no frame.
    return b"".join([*parts, _section_block(order, 5, struct.pack(order + "III", 0, 0, 0))])


def _read(file: io.BufferedIOBase) -> tuple[list[Block], str]:
    found: list[Block] = []
    try:
        for block in blocks(file, "capture"):  # type: ignore[arg-type]  # any binary file will do
            found.append(block)
    except UnreadableCapture as error:
        return found, str(error)
    return found, ""


def _frames(found: list[Block]) -> list[tuple[int, bytes]]:
    return [
        (int(ts_ms), block.data[start : start + length].tobytes())
        for block in found
        for ts_ms, start, length in zip(block.ts_ms, block.start, block.captured, strict=True)
    ]


SPELLINGS = [
    pytest.param(_pcap("<", False), id="pcap, little-endian, microseconds"),
    pytest.param(_pcap(">", False), id="pcap, big-endian, microseconds"),
    pytest.param(_pcap("<", True), id="pcap, little-endian, nanoseconds"),
    pytest.param(_pcap(">", True), id="pcap, big-endian, nanoseconds"),
    pytest.param(_pcapng("<"), id="pcapng, little-endian"),
    pytest.param(_pcapng(">"), id="pcapng, big-endian"),
    pytest.param(_pcapng("<", 9), id="pcapng, nanoseconds"),
    pytest.param(_pcapng("<", 6, (RADIOTAP, RADIOTAP)), id="pcapng, two interfaces"),
]


@pytest.mark.parametrize("data", SPELLINGS)
def test_every_spelling_holds_the_same_frames(data: bytes) -> None:
    found, trouble = _read(io.BytesIO(data))
    assert _frames(found) == FRAMES
    assert trouble == ""


@pytest.mark.parametrize("data", SPELLINGS)
def test_a_capture_cut_anywhere_gives_the_whole_frames_before_the_cut_and_says_so(data: bytes) -> None:
    whole_at = {len(data): ""}
    for cut in range(len(data)):
        found, trouble = _read(io.BytesIO(data[:cut]))
        frames = _frames(found)
        assert frames == FRAMES[: len(frames)]
        if not trouble:  # only where nothing is cut in two
            whole_at[cut] = trouble
    # After each header, frame and trailer of the file: some 14 to 17 places.
    assert len(FRAMES) + 1 <= len(whole_at) <= len(FRAMES) + 5


@pytest.mark.parametrize("data", SPELLINGS)
def test_a_damaged_capture_gives_frames_and_at_most_a_warning(data: bytes) -> None:
    rng = Random(len(data))
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        found, _ = _read(io.BytesIO(bytes(damaged)))
        times = [ts_ms for ts_ms, _ in _frames(found)]
        assert times == sorted(times)


def test_frames_of_both_link_types_in_one_file_keep_their_own() -> None:
    found, trouble = _read(io.BytesIO(_pcapng("<", 6, (RADIOTAP, BARE))))
    assert [block.link_type for block in found[:3]] == [RADIOTAP, BARE, RADIOTAP]
    assert _frames(found) == FRAMES
    assert trouble == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "neither pcap nor pcapng", id="nothing"),
        pytest.param(b"PK\x03\x04 a zip file", "neither pcap nor pcapng", id="another format"),
        pytest.param(pcap(FRAMES, ETHERNET), "link type 1;", id="Ethernet"),
        pytest.param(pcap([], ETHERNET), "link type 1;", id="Ethernet without a frame"),
        pytest.param(_pcapng("<", 6, (ETHERNET,)), "link type 1;", id="Ethernet in pcapng"),
        pytest.param(pcap(FRAMES)[:20], "ends within its file header", id="half a header"),
    ],
)
def test_a_capture_of_something_else_is_named(data: bytes, words: str) -> None:
    found, trouble = _read(io.BytesIO(data))
    assert not _frames(found)
    assert trouble.startswith("capture: ")
    assert words in trouble


def test_a_frame_stamped_earlier_takes_the_latest_time_also_across_blocks() -> None:
    frames = [(START_MS, FRAMES[0][1]), (START_MS - 40, FRAMES[1][1]), (START_MS + 5, FRAMES[2][1])]
    found, _ = _read(io.BytesIO(pcap(frames)))
    assert [ts_ms for ts_ms, _ in _frames(found)] == [START_MS, START_MS, START_MS + 5]
    found, _ = _read(_OneByOne(pcap(frames)))
    assert [ts_ms for ts_ms, _ in _frames(found)] == [START_MS, START_MS, START_MS + 5]


def test_a_time_that_jumps_by_months_ends_the_capture_before_it() -> None:
    frames = [*FRAMES[:3], (START_MS + 90 * 86_400_000, FRAMES[3][1]), *FRAMES[4:]]
    found, trouble = _read(io.BytesIO(pcap(frames)))
    assert _frames(found) == FRAMES[:3]
    assert "months later" in trouble


def _walked(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """Seconds and bytes of the frames of a capture, followed one by one."""
    place, found = 24, []
    while place + 16 <= len(data):
        seconds, _, captured, _ = struct.unpack_from(order + "IIII", data, place)
        if captured > 262_144 or place + 16 + captured > len(data):
            break
        found.append((seconds, data[place + 16 : place + 16 + captured]))
        place += 16 + captured
    return found


def _lookalikes(rng: Random, order: str, seconds: int) -> bytes:
    """A capture whose frames hold what looks like records: some end where a record does, some lead into one."""
    magic = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, RADIOTAP)
    parts = [magic]
    for _ in range(rng.randrange(1, 60)):
        seconds += rng.choice((0, 0, 1, 3_600, 30 * 86_400))
        fakes = [
            struct.pack(order + "IIII", seconds + rng.randrange(2), 7, captured, captured) + bytes(rng.randrange(3))
            for captured in rng.choices((0, 1, 16, 17, 40, 300), k=rng.randrange(5))
        ]
        body = b"".join(fakes) + bytes(rng.choice((0, 1, 30)))
        parts.append(struct.pack(order + "IIII", seconds, 5, len(body), len(body) + rng.randrange(2)) + body)
    return b"".join(parts)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(1_700_000_000, id="today"),
        pytest.param(0x65FF_FFF0, id="the highest octet of the time turns"),
        pytest.param(3, id="a clock that was not set"),
    ],
)
def test_frames_that_hold_what_looks_like_records_are_followed_as_they_stand(seconds: int, order: str) -> None:
    for seed in range(200):
        rng = Random(seed)
        data = _lookalikes(rng, order, seconds)
        if seed % 2:
            data = data[: rng.randrange(24, len(data))]
        found, _ = _read(io.BytesIO(data))
        assert [(ts_ms // 1_000, frame) for ts_ms, frame in _frames(found)] == _walked(data, order), f"seed {seed}"


def test_a_record_longer_than_a_frame_can_be_ends_the_capture_where_it_stands() -> None:
    whole = pcap(FRAMES[:3])
    for captured, room in ((262_145, 99), (262_145, 262_145), (0xFFFFFFFF, 99)):
        found, trouble = _read(
            io.BytesIO(whole + struct.pack("<IIII", 1_700_000_001, 0, captured, captured) + bytes(room))
        )
        assert _frames(found) == FRAMES[:3]
        assert f"damaged record at byte {len(whole)};" in trouble


class _OneByOne(io.BytesIO):
    """A file that gives one byte a read, as a slow pipe may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 1))

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(size)

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("data", SPELLINGS)
def test_a_pipe_that_gives_a_byte_at_a_time_gives_the_same_frames(data: bytes) -> None:
    found, trouble = _read(_OneByOne(data))
    assert _frames(found) == FRAMES
    assert trouble == ""


def test_a_pipe_gives_what_has_arrived_and_ends_when_it_is_told_to() -> None:
    out, into = os.pipe()
    stop = Event()
    os.write(into, pcap(FRAMES[:5]))
    heard = []
    for block in blocks(pipe(out, stop), "pipe"):
        heard += _frames([block])
        if len(heard) == 5:
            stop.set()  # the writer goes on: only the signal ends this
    assert heard == FRAMES[:5]
    os.close(into)
    os.close(out)
