"""The contenders that read a capture within Python, each run in a process of its own so that nobody warms another up.

`python -m tests.bench.frames_readers footfall|scapy CHAIN STORE FILE...` prints one JSON object: the processor
time that the frames took, imports left out, and the answer of each file. `footfall-stages` also tells how it divides.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from footfall_collectors import collect, session
from footfall_collectors.bursts import OpenBursts
from footfall_collectors.collect import StoreRun
from footfall_collectors.dot11 import COUNTED, FIRST_IGNORED, AddressMemory, judge
from footfall_collectors.pseudonyms import Pseudonyms, throwaway_key
from footfall_collectors.publish import encoded
from footfall_collectors.radio_minutes import RadioMinutes
from footfall_collectors.session import Batching
from footfall_collectors.sources.pcap import blocks
from footfall_events.rows import decode_rows
from footfall_events.schemas import SENSOR_MINUTES, FrameKind
from footfall_events.stores import StoreConfig, load_chain

from tests.bench.frames_answer import Answer, Seen, answer

SENSOR = "sensor"
_BAD_FCS, _FCS_AT_END = 0x40, 0x10


class Stages:
    """Processor time by stage; what a stage calls of another counts there and not twice."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._settle()
        self._within.append(name)
        try:
            yield
        finally:
            self._settle()
            self._within.pop()

    def _settle(self) -> None:
        """Book the time since the last call on the stage that it was spent in."""
        now = time.process_time()
        if self._within:
            self.seconds[self._within[-1]] += now - self._since
        self._since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            with self.stage(name):
                return function(*args, **options)

        return run

    def each(self, name: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The same for a generator: what happens between two of its items is not its own."""

        def run(*args: Any) -> Iterator[Any]:
            items = function(*args)
            while (item := self.timed(name, next)(items, None)) is not None:
                yield item

        return run

    def watch(self) -> None:
        """Put a stopwatch around every stage of the collectors in this process."""
        for name, module, function in (
            ("reading", collect, "blocks"),
            ("digest of the file", collect, "boot_id"),
            ("judging", session, "judge"),
        ):
            watched = self.each if function == "blocks" else self.timed
            setattr(module, function, watched(name, getattr(module, function)))
        for name, owner, methods in (
            ("bursts", OpenBursts, ("add", "finish")),
            ("minutes", RadioMinutes, ("hear", "keep", "over", "finish")),
            ("pseudonyms", Pseudonyms, ("device_ids",)),
        ):
            for method in methods:
                setattr(owner, method, self.timed(name, getattr(owner, method)))


def footfall(path: Path, chain: Path, store_id: str, stages: Stages | None) -> tuple[float, int]:
    """Processor time from the file to encoded messages, and how many frames the minutes among them count."""
    config = load_chain(chain)
    encode = stages.timed("encoding", encoded) if stages else encoded
    begun = time.process_time()
    run = StoreRun(config.stores[store_id], config.privacy, throwaway_key(0), Batching())
    values = [encode(output)[1] for output in run.files({SENSOR: path})]
    seconds = time.process_time() - begun
    assert not run.warnings, run.warnings
    counted = 0
    for value in values:
        if b"listening_s" in value:
            rows = decode_rows(value, SENSOR_MINUTES).to_pylist()
            counted += sum(row["frames"] - row["rejected"] - row["ignored"] for row in rows)
    return seconds, counted


def answer_of_footfall(path: Path, store: StoreConfig) -> Answer:
    """What the collector makes of each frame, added up."""
    total, kinds, macs = Counter[str](), Counter[str](), set[int]()
    memory = AddressMemory()
    with path.open("rb") as file:
        for block in blocks(file, path.name):
            frames = judge(block, store.versions[0], memory)
            counted = frames.verdict == COUNTED
            ignored = int((frames.verdict >= FIRST_IGNORED).sum())
            total.update(
                counted=int(counted.sum()),
                ignored=ignored,
                rejected=len(counted) - ignored - int(counted.sum()),
                rssi_dbm=int(frames.rssi_dbm[counted].sum(dtype=np.int64)),
                freq_mhz=int(frames.freq_mhz[counted].sum(dtype=np.int64)),
            )
            kinds.update({str(kind.name): int((frames.kind[counted] == kind).sum()) for kind in FrameKind})
            macs.update(frames.mac[counted].tolist())
    totals = {name: count for name, count in total.items() if count}
    return {**totals, "kinds": {name: count for name, count in kinds.items() if count}, "transmitters": len(macs)}


def dissected(path: Path) -> Iterator[Seen]:
    """Every frame as scapy dissects it, with what the collector needs of it."""
    from scapy.layers.dot11 import Dot11, Dot11FCS, RadioTap
    from scapy.utils import PcapReader

    for packet in PcapReader(str(path)):
        frame = packet.getlayer(Dot11FCS) or packet.getlayer(Dot11)
        if not isinstance(packet, RadioTap) or frame is None:
            yield Seen(False, 0)
            continue
        flags = int(packet.Flags or 0)
        room = len(packet.original) - packet.len - (4 if flags & _FCS_AT_END else 0)
        yield Seen(
            is_sound=packet.version == 0 and packet.len >= 8 and not flags & _BAD_FCS and float(packet.time) > 0,
            room=room,
            version=frame.proto,
            type_subtype=frame.type * 16 + frame.subtype,
            direction=int(frame.FCfield) & 3,
            receiver=frame.addr1,
            transmitter=frame.addr2,
            rssi_dbm=packet.dBm_AntSignal,
            freq_mhz=packet.ChannelFrequency or 0,
        )


def main(reader: str, chain: Path, store_id: str, paths: list[Path]) -> None:
    store = load_chain(chain).stores[store_id]
    seconds, answers, stages = 0.0, [], Stages() if reader == "footfall-stages" else None
    if stages:
        stages.watch()
    for path in paths:
        if reader == "scapy":
            begun = time.process_time()
            seen = list(dissected(path))
            seconds += time.process_time() - begun
            answers.append(answer(seen, store.versions[0].own_bssids, store.versions[0].ignored_ouis))
        else:
            took, counted = footfall(path, chain, store_id, stages)
            seconds += took
            answers.append(answer_of_footfall(path, store))
            assert counted == answers[-1].get("counted", 0), "the minutes sent do not count what was judged to count"
    times = dict(stages.seconds) if stages else {}
    sys.stdout.write(json.dumps({"seconds": seconds, "answers": answers, "stages": times}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], [Path(name) for name in sys.argv[4:]])
