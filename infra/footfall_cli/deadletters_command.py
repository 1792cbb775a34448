"""`footfall deadletters list|show|replay|quarantine`: what could not be processed, and what helps."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from footfall_events.broker_access import check_access
from footfall_events.dead_letters import REASONS
from footfall_events.errors import ConfigError
from footfall_events.settings import SettingsReader
from footfall_events.stores import load_chain
from footfall_events.topics import DEAD_LETTERS
from footfall_events.transport import KafkaTransport
from rich.console import Console

from footfall_cli.deadletters import (
    ANY_OFFSET,
    TOPICS,
    Bench,
    Choice,
    Letter,
    batch_facts,
    grouped,
    impossible,
    letter_facts,
    obstacle,
    parse_offsets,
    parse_place,
    read_letters,
)
from footfall_cli.deadletters_replay import AT_ONCE, Postman
from footfall_cli.log_reader import broker_clock_ms, read_log, spans_of
from footfall_cli.progress import bar
from footfall_cli.quarantine_command import Connect, add_quarantine_arguments, quarantine

_EXAMPLES = {
    "list": "footfall deadletters list --bootstrap kafka:9092 --store north",
    "show": "footfall deadletters show 3:120 --output letter.arrow",
    "replay": "footfall deadletters replay --reason unknown_sensor --config chain.toml --dry-run",
    "quarantine": "footfall deadletters quarantine --config chain.toml\n"
    "  footfall deadletters quarantine --partition 3 --offset 1200",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay|quarantine")
    made = {}
    for name, text in (
        ("list", "count letters by reason, topic and store, and say what helps"),
        ("show", "one letter: where it came from, what its batch says of itself, why it is here"),
        ("replay", "send letters back to the topic they came from; doing so twice changes nothing"),
        ("quarantine", "find the batch that stops every worker and set it aside as a dead letter"),
    ):
        made[name] = actions.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n  {_EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made[name].add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka (FOOTFALL_BOOTSTRAP)")
    for name in ("list", "replay"):
        _add_filters(made[name])
    made["list"].add_argument("--each", action="store_true", help="one line for each letter, with its place")
    made["list"].add_argument("--all", action="store_true", help="those that were replayed as well")
    made["list"].add_argument("--json", action="store_true", help="one JSON array")
    made["show"].add_argument("place", metavar="PARTITION:OFFSET", help="the letter's place in deadletters.v1")
    made["show"].add_argument("--output", type=Path, metavar="FILE", help="write the bytes there, untouched")
    made["show"].add_argument("--json", action="store_true", help="one JSON object")
    replay = made["replay"]
    replay.add_argument("--config", type=Path, metavar="CHAIN.toml", help="judge by this too (FOOTFALL_CONFIG)")
    replay.add_argument("--dry-run", action="store_true", help="only say what would be sent and what not")
    replay.add_argument("--anyway", action="store_true", help="also those that no replay cures, or not yet")
    replay.add_argument("--again", action="store_true", help="also those that were replayed before")
    add_quarantine_arguments(made["quarantine"])


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="REASON", help=f"one of {', '.join(REASONS)}")
    parser.add_argument(
        "--topic", default="", choices=TOPICS, metavar="TOPIC", help=f"it came from: {', '.join(TOPICS)}"
    )
    parser.add_argument("--store", default="", metavar="ID", help="the letter's key")
    parser.add_argument("--partition", type=int, metavar="N", help="partition of deadletters.v1")
    parser.add_argument("--offset", metavar="FIRST[-LAST]", help="place or places in that partition")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 1: nothing went back although letters match, or a batch that stops workers is not set aside yet."""
    given = {"FOOTFALL_BOOTSTRAP": args.bootstrap, "FOOTFALL_CONFIG": getattr(args, "config", None)}
    values = {**environ, **{name: str(value) for name, value in given.items() if value}}
    read = SettingsReader(values)
    transport = KafkaTransport.read(read)
    read.finish()
    actions = {"list": _list, "show": _show, "replay": _replay, "quarantine": quarantine}
    return actions[args.action](args, values, partial(_connect, transport))


def _connect(transport: KafkaTransport) -> Mapping[str, str]:
    """Only once the options are in order."""
    check_access(transport)
    # The client's own log lines say nothing that its errors do not.
    return {**transport.client(), "log_level": "0"}


def _choice(args: argparse.Namespace, *, replayed_too: bool) -> Choice:
    problems = []
    if args.reason and args.reason not in REASONS:
        problems.append(f"--reason is {args.reason!r}: must be one of {', '.join(REASONS)}")
    if args.offset and args.partition is None:
        problems.append("--offset needs --partition: offsets count in each partition by themselves")
    if problems:
        raise ConfigError(problems)
    return Choice(args.reason, args.topic, args.store, args.partition, parse_offsets(args.offset), replayed_too)


def _letters(kafka: Mapping[str, str], choice: Choice) -> list[Letter]:
    """Letters chosen, without their bytes; raises ConfigError if the partition or none of the offsets is there."""
    spans = spans_of(kafka, DEAD_LETTERS.name)
    if choice.partition is not None:
        span = _span(spans, choice.partition)
        if choice.offsets != ANY_OFFSET and (choice.offsets.stop <= span.start or span.stop <= choice.offsets.start):
            raise ConfigError([f"{DEAD_LETTERS.name}[{choice.partition}] {_held(span)}, none of those asked for"])
        spans = {choice.partition: span}
    total = sum(map(len, spans.values()))
    with bar(Console(stderr=True), "dead letters read") as show:
        letters = read_letters(read_log(kafka, DEAD_LETTERS.name, spans, lambda done: show(done, total)))
    return [letter for letter in letters if choice.takes(letter)]


def _span(spans: Mapping[int, range], partition: int) -> range:
    if partition not in spans:
        raise ConfigError([f"{DEAD_LETTERS.name} has partitions 0 to {max(spans)}, none of number {partition}"])
    return spans[partition]


def _held(span: range) -> str:
    return f"holds offsets {span.start} to {span.stop - 1}" if span else "is empty"


def _list(args: argparse.Namespace, values: Mapping[str, str], connect: Connect) -> int:
    choice = _choice(args, replayed_too=args.all)
    letters = _letters(connect(), choice)
    groups = [group.facts() for group in grouped(letters)]
    rows = [letter_facts(letter) for letter in letters] if args.each else groups
    if args.json:
        print(json.dumps(rows))
        return 0
    if not rows:
        print("no dead letters match" if args.all else "no dead letters match that were not replayed (--all)")
        return 0
    hidden = () if args.each else ("wrong", "remedy")
    _print_table([{name: value for name, value in row.items() if name not in hidden} for row in rows])
    if not args.each:
        print()
        for reason, wrong, remedy in sorted({(group["reason"], group["wrong"], group["remedy"]) for group in groups}):
            print(f"{reason}: {wrong}; {remedy}")
    return 0


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [[name.replace("_", " ") for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(rows[0]))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _show(args: argparse.Namespace, values: Mapping[str, str], connect: Connect) -> int:
    partition, offset = parse_place(args.place)
    kafka = connect()
    span = _span(spans_of(kafka, DEAD_LETTERS.name), partition)
    choice = Choice(partition=partition, offsets=range(offset, offset + 1), replayed_too=True)
    letter = next(iter(_letters(kafka, choice)), None)
    if letter is None:
        raise ConfigError(
            [f"{args.place} is a note of a replay or no message: {DEAD_LETTERS.name}[{partition}] {_held(span)}"]
        )
    (record,) = read_log(kafka, DEAD_LETTERS.name, {partition: range(offset, offset + 1)})
    value = record.value or b""
    reason = REASONS.get(letter.reason)
    facts = {**letter_facts(letter), "batch": batch_facts(letter.topic, value)}
    if reason:
        facts |= {"wrong": reason.wrong, "remedy": reason.remedy, "cured_by_replay": reason.cure.value}
    if args.output:
        _write(args.output, value)
    if args.json:
        print(json.dumps(facts))
        return 0
    batch = {f"batch {name}": fact for name, fact in facts.pop("batch").items()}
    for name, fact in {**facts, **batch}.items():
        print(f"{name.replace('_', ' '):26}{fact}".rstrip())
    return 0


def _write(path: Path, value: bytes) -> None:
    """Only for the owner: the bytes hold pseudonyms."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(value)
    except OSError as error:
        raise ConfigError([f"--output {path}: {error.strerror}"]) from error


def _replay(args: argparse.Namespace, values: Mapping[str, str], connect: Connect) -> int:
    choice = _choice(args, replayed_too=args.again)
    chain = load_chain(Path(values["FOOTFALL_CONFIG"])) if values.get("FOOTFALL_CONFIG") else None
    kafka = connect()
    letters = {(letter.partition, letter.offset): letter for letter in _letters(kafka, choice)}
    bench = Bench(chain, broker_clock_ms(kafka), choice.reason)
    spans = _spans_around(list(letters))
    refused: Counter[tuple[str, str]] = Counter()

    def curable() -> Iterator[tuple[Letter, bytes]]:
        for record in read_log(kafka, DEAD_LETTERS.name, spans):
            letter = letters.get((record.partition, record.offset))
            if letter is None:
                continue
            value = record.value or b""
            why = impossible(letter) or ("" if args.anyway else obstacle(letter, value, bench))
            if why:
                refused[letter.reason, why] += 1
            else:
                yield letter, value

    sent = _send(kafka, curable(), len(letters), dry_run=args.dry_run)
    for (reason, why), count in sorted(refused.items()):
        print(f"{count} {reason}: left, {why}")
    print(f"{sent} of {len(letters)} letters {'would go' if args.dry_run else 'went'} back to their topics")
    return 1 if letters and not sent else 0


def _spans_around(places: Sequence[tuple[int, int]]) -> dict[int, range]:
    offsets: dict[int, list[int]] = {}
    for partition, offset in places:
        offsets.setdefault(partition, []).append(offset)
    return {partition: range(min(found), max(found) + 1) for partition, found in offsets.items()}


def _send(kafka: Mapping[str, str], letters: Iterator[tuple[Letter, bytes]], total: int, *, dry_run: bool) -> int:
    """How many went back, or would."""
    if dry_run:
        return sum(1 for _ in letters)
    postman = Postman(kafka)
    with bar(Console(stderr=True), "letters sent back") as show:
        while some := list(islice(letters, AT_ONCE)):
            postman.send(some)
            show(postman.done, total)
    return postman.done
