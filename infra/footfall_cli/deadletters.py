"""Decides about dead letters: which there are, what each one is, and whether a replay would put it through. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from footfall_events.dead_letters import OFFSET, OMITTED_BYTES, PARTITION, REASON, REASONS, REPLAYED, TOPIC, Cure
from footfall_events.errors import ConfigError, PoisonEvent
from footfall_events.rows import decode_rows
from footfall_events.sighting_batches import decode_sightings
from footfall_events.sighting_reader import SightingsReader
from footfall_events.stores import ChainConfig
from footfall_events.topics import SIGHTINGS
from footfall_sinks.batch import TARGETS, read_item
from footfall_streams.events import Message, read_batches

TOPICS = (SIGHTINGS.name, *TARGETS)
"""Topics whose messages can become dead letters."""
ANY_OFFSET = range(2**63)

_STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Record:
    """One message of any topic; `at_ms` is the producer's or the broker's clock, as the topic has it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    at_ms: int


@dataclass(frozen=True)
class Letter:
    """One dead letter without its bytes; `replayed` is where they are now, empty if they were not sent back."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    size: int
    reason: str
    topic: str
    came_from: str
    omitted: int = 0
    replayed: str = ""

    @property
    def place(self) -> str:
        """Where the letter is in `deadletters.v1`."""
        return f"{self.partition}:{self.offset}"

    @property
    def store(self) -> str:
        """The key, which is the store; `-` for a key that is no name, as it could be anything."""
        text = (self.key or b"").decode("ascii", "replace")
        return text if _STORE_ID.fullmatch(text) else "-"


def read_letters(records: Iterable[Record]) -> list[Letter]:
    """The letters among the messages of `deadletters.v1`, in the order given, each joined with its note."""
    letters, notes = [], {}
    for record in records:
        note = record.headers.get(REPLAYED)
        if note is None:
            letters.append(letter_of(record))
        else:
            notes[_text(note)] = _place(record.headers)
    return [replace(letter, replayed=notes.get(letter.place, "")) for letter in letters]


def letter_of(record: Record) -> Letter:
    """What the headers say; texts of a foreign message may be anything, so what is unprintable is left out."""
    omitted = _text(record.headers.get(OMITTED_BYTES, b""))
    return Letter(
        record.partition,
        record.offset,
        record.at_ms,
        record.key,
        len(record.value or b""),
        _text(record.headers.get(REASON, b"")) or "-",
        _text(record.headers.get(TOPIC, b"")) or "-",
        _place(record.headers),
        int(omitted) if omitted.isdigit() else 0,
    )


def _place(headers: Mapping[str, bytes]) -> str:
    topic, partition, offset = (_text(headers.get(name, b"")) or "?" for name in (TOPIC, PARTITION, OFFSET))
    return f"{topic}[{partition}]@{offset}"


def _text(raw: bytes) -> str:
    return "".join(sign for sign in raw.decode("utf-8", "replace")[:200] if sign.isprintable())


# -- choosing -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; what is left out means any."""

    reason: str = ""
    topic: str = ""
    store: str = ""
    partition: int | None = None
    offsets: range = ANY_OFFSET
    replayed_too: bool = False

    def takes(self, letter: Letter) -> bool:
        return (
            self.reason in ("", letter.reason)
            and self.topic in ("", letter.topic)
            and self.store in ("", letter.store)
            and self.partition in (None, letter.partition)
            and letter.offset in self.offsets
            and (self.replayed_too or not letter.replayed)
        )


def parse_place(text: str) -> tuple[int, int]:
    """`PARTITION:OFFSET`; raises ConfigError."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if not found:
        raise ConfigError([f"{text!r} is no place: give PARTITION:OFFSET, as `footfall deadletters list --each` does"])
    return int(found[1]), int(found[2])


def parse_offsets(text: str | None) -> range:
    """`OFFSET` or `FIRST-LAST`, both included; raises ConfigError."""
    if text is None:
        return ANY_OFFSET
    found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", text)
    if not found or int(found[2] or found[1]) < int(found[1]):
        raise ConfigError([f"--offset is {text!r}: give one offset, or the first and the last like 120-180"])
    return range(int(found[1]), int(found[2] or found[1]) + 1)


# -- judging --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """What letters are judged by: the configuration, if one is given, and a time that the broker's clock has reached.

    `named` is the reason that somebody asked for by name.
    """

    chain: ChainConfig | None
    broker_ms: int
    named: str = ""


def impossible(letter: Letter) -> str:
    """Why nobody can send the letter's bytes back; empty if one can."""
    if letter.topic not in TOPICS:
        return "it names no topic of this release that its bytes could go back to"
    if letter.omitted:
        return f"its {letter.omitted} bytes were too large for a letter: they are at {letter.came_from}"
    if letter.reason == "unpacks_to_too_much":
        return f"nobody could read its bytes: they are at {letter.came_from}"
    return ""


def obstacle(letter: Letter, value: bytes, bench: Bench) -> str:
    """Why a replay would come to nothing, or to harm; empty if it would put the letter through."""
    reason = REASONS.get(letter.reason)
    if reason is None:
        return "this release does not know the reason: use the release that gave it"
    if reason.cure is Cure.NEVER:
        return f"no replay cures it: {reason.remedy}"
    if reason.deliberate and bench.named != letter.reason:
        return f"{reason.remedy}. Then say so: --reason {letter.reason}"
    try:
        _refuse(letter, value, bench)
    except PoisonEvent as poison:
        if poison.reason != letter.reason:
            return f"it would come back as {poison.reason}: {_remedy(poison.reason)}"
        return f"it would come back: {reason.wrong}, still; {reason.remedy}"
    return ""


def _remedy(name: str) -> str:
    reason = REASONS[name]
    return f"{reason.wrong}; {reason.remedy}"


def _refuse(letter: Letter, value: bytes, bench: Bench) -> None:
    """Raise PoisonEvent if the installed release would make a dead letter of it again."""
    if letter.topic != SIGHTINGS.name:
        poison = read_item(letter.topic, 0, letter.key, value).poison
        if poison:
            raise PoisonEvent(poison)
        return
    header, _ = decode_sightings(value)
    if bench.chain is not None:
        ids = sorted(bench.chain.stores)
        configs = [bench.chain.stores[store_id] for store_id in ids]
        numbers = {store_id: number for number, store_id in enumerate(ids)}
        message = Message(0, 0, letter.key, value, bench.broker_ms)
        partitions = [message.partition] * len(ids)
        for _, reason in read_batches([message], numbers, configs, partitions, SightingsReader()).poison:
            raise PoisonEvent(reason)
    elif letter.reason == "clock_ahead" and header.sensor_clock_ms > bench.broker_ms:
        raise PoisonEvent("clock_ahead")


# -- telling --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The letters of one reason, topic and store."""

    reason: str
    topic: str
    store: str
    letters: Sequence[Letter]

    def facts(self) -> dict[str, Any]:
        """As `list --json` gives it; times are those of the letters, by the clock of who wrote them."""
        reason = REASONS.get(self.reason)
        times = [letter.at_ms for letter in self.letters]
        return {
            "reason": self.reason,
            "topic": self.topic,
            "store": self.store,
            "letters": len(self.letters),
            "replayed": sum(bool(letter.replayed) for letter in self.letters),
            "bytes": sum(letter.size for letter in self.letters),
            "first": instant(min(times)),
            "last": instant(max(times)),
            "wrong": reason.wrong if reason else "not a reason of this release",
            "remedy": reason.remedy if reason else "use the release that gave it",
            "cured_by_replay": reason.cure.value if reason else "unknown",
        }


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """By reason, topic and store, in the order of their names."""
    groups: dict[tuple[str, str, str], list[Letter]] = defaultdict(list)
    for letter in letters:
        groups[letter.reason, letter.topic, letter.store].append(letter)
    return [Group(*names, tuple(found)) for names, found in sorted(groups.items())]


def letter_facts(letter: Letter) -> dict[str, Any]:
    """One letter as `list --each` gives it."""
    return {
        "place": letter.place,
        "reason": letter.reason,
        "store": letter.store,
        "came_from": letter.came_from,
        "at": instant(letter.at_ms),
        "bytes": letter.omitted or letter.size,
        "replayed": letter.replayed,
    }


def batch_facts(topic: str, value: bytes) -> dict[str, Any]:
    """What a message says of itself: its header, how many rows, which times. Never a device.

    `refused` says why it cannot be read, if it cannot.
    """
    try:
        if topic == SIGHTINGS.name:
            header, rows = decode_sightings(value)
            return {**header.to_metadata(), "sensor_clock": instant(header.sensor_clock_ms), **_row_facts(rows)}
        if topic in TARGETS:
            return _row_facts(decode_rows(value, TARGETS[topic].schema))
    except PoisonEvent as poison:
        return {"refused": _text(str(poison).encode())}
    return {}


def _row_facts(rows: pa.RecordBatch) -> dict[str, Any]:
    facts: dict[str, Any] = {"rows": rows.num_rows}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_timestamp(field.type) and len(column) > column.null_count:
            low, high = pc.min_max(column.cast(pa.int64())).as_py().values()
            facts[field.name] = f"{instant(low)} to {instant(high)}"
    return facts


def instant(epoch_ms: int) -> str:
    """UTC, to the second; a number too large for a calendar as it is."""
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{epoch_ms} ms"
