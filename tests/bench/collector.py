"""`footfall collect` from a capture file to encoded messages, against what its users would dissect a capture with."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from footfall_cli.simulator import simulate
from footfall_events.stores import load_chain

from tests.bench.frames_answer import Answer, Seen, answer
from tests.bench.report import Figure, Report, Say, Target, alternate, at_least
from tests.captures import BRNO

OURS, TSHARK, SCAPY = "footfall collect", "tshark -T fields", "scapy's PcapReader"
_UNIT = "frames/s"
_FIELDS = (
    *("frame.time_epoch", "frame.cap_len", "radiotap.version", "radiotap.length", "radiotap.flags.badfcs"),
    *("radiotap.flags.fcs", "radiotap.dbm_antsignal", "radiotap.channel.freq", "wlan.fc.version"),
    *("wlan.fc.type_subtype", "wlan.fc.ds", "wlan.ra", "wlan.ta"),
)
_LAB = '[[stores]]\nid = "lab"\nsensors = ["sensor"]\nignored_ouis = ["dc:fb:48"]\n'
_FILE_HEADER_BYTES = 24

_WORK = """
Frames a second of processor time, everything on one core, from a capture file to the encoded Arrow messages of
`sightings.v1` and `sensor_minutes.v1`: what `footfall collect` and `footfall replay` do before Kafka. Against it:
scapy's dissection of the same file, with the fields read that the collector needs, and tshark printing those fields to
/dev/null. Nobody's start-up counts: imports are done before, and tshark's time on a capture without frames is taken
off. Scapy reads the first {part:,} frames of each capture only. All three must find the same number of rejected,
ignored and counted frames, of counted frames by kind, of distinct transmitters, and the same sums of signal and channel
over the counted ones; and the encoded minutes must count the same frames.{absent}
"""
_ABSENT = " The real captures are not here: these are the simulator's."


@dataclass(frozen=True)
class Case:
    """Captures of one store, in the order of time, and the beginnings of them that scapy reads."""

    name: str
    chain: Path
    store_id: str
    captures: tuple[Path, ...]
    beginnings: tuple[Path, ...]


def run(quick: bool, say: Say) -> Report:
    """Real captures, and a long one of a busy shop so that what begins and ends a file does not decide."""
    part, repetitions = (400, 2) if quick else (3_000, 7)
    with tempfile.TemporaryDirectory(prefix="footfall-bench-") as temporary, _one_core():
        directory = Path(temporary)
        cases = [_real(directory, part)] if BRNO else []
        if not (quick and cases):
            cases.append(_busy(directory, part, *((1, 2_000) if quick else (3, 3_000))))
        figures: list[Figure] = []
        targets: list[Target] = []
        for case in cases:
            frames = check(case, say)
            profile = "" if quick else _profile(case)
            say(f"{case.name}: {profile or 'not profiled'}")
            measured = measure(case, frames, repetitions, say)
            name = f"{case.name}, {frames:,} frames"
            figures += [Figure(name, who, _UNIT, rates, profile * (who == OURS)) for who, rates in measured.items()]
            targets += _targets(case.name, figures[-len(measured) :], profile)
    work = _WORK.format(part=part, absent="" if BRNO else _ABSENT)
    return Report("collector", work, tuple(figures), tuple(targets))


def _targets(case: str, figures: list[Figure], profile: str) -> list[Target]:
    of = {figure.contender: figure.median for figure in figures}
    wanted = {SCAPY: 100, TSHARK: 5}
    targets = []
    for name, factor in wanted.items():
        if name in of:
            ratio = of[OURS] / of[name]
            why = f"the time goes to: {profile}" if profile else ""
            targets.append(at_least(f"times the rate of {name} ({case})", factor, ratio, why))
    return targets


def _real(directory: Path, part: int) -> Case:
    chain = directory / "lab.toml"
    chain.write_text(_LAB, encoding="utf-8")
    return _case("real captures of a lab", chain, "lab", tuple(BRNO), directory / "lab", part)


def _busy(directory: Path, part: int, days: int, visitors: int) -> Case:
    made = simulate(directory / "busy", stores=1, days=days, sensors=1, visitors_per_day=visitors)
    ((store_id, captures),) = made.captures.items()
    return _case("a busy shop, simulated", made.config, store_id, captures, directory / "beginning", part)


def _case(name: str, chain: Path, store_id: str, captures: tuple[Path, ...], directory: Path, part: int) -> Case:
    directory.mkdir()
    beginnings = []
    for path in captures:
        beginnings.append(directory / path.name)
        beginnings[-1].write_bytes(_beginning(path.read_bytes(), part))
    return Case(name, chain, store_id, captures, tuple(beginnings))


def _beginning(capture: bytes, frames: int) -> bytes:
    """A little-endian pcap of the first frames of one."""
    assert capture[:4] == b"\xd4\xc3\xb2\xa1"
    end = _FILE_HEADER_BYTES
    for _ in range(frames):
        if end >= len(capture):
            break
        end += 16 + struct.unpack_from("<I", capture, end + 8)[0]
    return capture[:end]


# -- the answers -------------------------------------------------------------------------------------------


def check(case: Case, say: Say) -> int:
    """All contenders find the same in the same files, else AssertionError; how many frames that are."""
    found = _read("footfall", case, case.captures)[1]
    total = _added(found)
    say(f"{case.name}: {json.dumps(total)}")
    assert total["counted"] > 0
    if shutil.which("tshark"):
        for path, ours in zip(case.captures, found, strict=True):
            theirs = _answer_of_tshark(case, path)
            assert theirs == ours, f"{path.name}: tshark {theirs}, footfall {ours}"
    ours_of_beginnings = _read("footfall", case, case.beginnings)[1]
    for path, ours, theirs in zip(
        case.beginnings, ours_of_beginnings, _read("scapy", case, case.beginnings)[1], strict=True
    ):
        assert theirs == ours, f"the beginning of {path.name}: scapy {theirs}, footfall {ours}"
    return sum(total.values())


def _answer_of_tshark(case: Case, path: Path) -> Answer:
    done = subprocess.run(_tshark(path), capture_output=True, text=True, check=True)
    store = load_chain(case.chain).stores[case.store_id].versions[0]
    return answer(map(_seen_by_tshark, done.stdout.splitlines()), store.own_bssids, store.ignored_ouis)


def _seen_by_tshark(line: str) -> Seen:
    fields = dict(zip(_FIELDS, line.split("\t"), strict=True))

    def number(name: str, otherwise: int = 0) -> int:
        return int(fields[name], 0) if fields[name] else otherwise

    header, captured = number("radiotap.length"), number("frame.cap_len")
    return Seen(
        is_sound=fields["radiotap.version"] == "0" and 8 <= header <= captured and not number("radiotap.flags.badfcs"),
        room=captured - header - 4 * number("radiotap.flags.fcs"),
        version=number("wlan.fc.version"),
        type_subtype=number("wlan.fc.type_subtype"),
        direction=number("wlan.fc.ds"),
        receiver=fields["wlan.ra"],
        transmitter=fields["wlan.ta"],
        rssi_dbm=number("radiotap.dbm_antsignal"),
        freq_mhz=number("radiotap.channel.freq"),
    )


def _added(answers: list[Answer]) -> dict[str, int]:
    """Frames by verdict over all files."""
    return {name: sum(one.get(name, 0) for one in answers) for name in ("counted", "ignored", "rejected")}


# -- the speed ---------------------------------------------------------------------------------------------


def measure(case: Case, frames: int, repetitions: int, say: Say) -> dict[str, tuple[float, ...]]:
    """Frames a second of each contender, a value a repetition."""
    contenders: dict[str, Callable[[], float]] = {
        OURS: partial(_rate, "footfall", case, case.captures),
        TSHARK: partial(_rate_of_tshark, case, frames),
        SCAPY: partial(_rate, "scapy", case, case.beginnings),
    }
    if not shutil.which("tshark"):
        say("tshark is not installed: it is left out")
        del contenders[TSHARK]
    return alternate(contenders, repetitions, say, _UNIT)


def _rate(reader: str, case: Case, paths: tuple[Path, ...]) -> float:
    seconds, answers, _ = _read(reader, case, paths)
    return sum(_added(answers).values()) / seconds


def _rate_of_tshark(case: Case, frames: int) -> float:
    with tempfile.NamedTemporaryFile(suffix=".pcap") as empty:
        empty.write(case.captures[0].read_bytes()[:_FILE_HEADER_BYTES])
        empty.flush()
        start_up = _cpu_s(_tshark(Path(empty.name)))
    return frames / sum(_cpu_s(_tshark(path)) - start_up for path in case.captures)


def _profile(case: Case) -> str:
    """How the collector's time divides, the largest part first."""
    seconds, _, stages = _read("footfall-stages", case, case.captures)
    stages["batches and the rest"] = seconds - sum(stages.values())
    shares = Counter({name: took / seconds for name, took in stages.items()})
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.most_common())


def _read(reader: str, case: Case, paths: tuple[Path, ...]) -> tuple[float, list[Answer], dict[str, float]]:
    """Processor time, answers and stages of a reader in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.frames_readers",
        reader,
        str(case.chain),
        case.store_id,
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return told["seconds"], told["answers"], told["stages"]


def _tshark(path: Path) -> list[str]:
    fields = [part for name in _FIELDS for part in ("-e", name)]
    return ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f", *fields]


def _cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _one_core() -> Iterator[None]:
    """Whatever is started within runs on one core, all its threads together."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
