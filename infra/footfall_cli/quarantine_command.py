"""`footfall deadletters quarantine`: options, and the mark that gets a fleet past a batch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaException
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.stores import load_chain
from footfall_events.topics import SIGHTINGS
from footfall_streams.checkpoint import LogFacts, PartitionLog, describe_log
from rich.console import Console

from footfall_cli.progress import bar
from footfall_cli.quarantine import Culprit, find_culprit, waiting

_ATTEMPTS = 10

Connect = Callable[[], Mapping[str, str]]
"""Gives the client configuration of a Kafka that lets us in, once the options are in order."""


def add_quarantine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partition", type=int, metavar="N", help=f"of {SIGHTINGS.name}; default: search in each")
    parser.add_argument("--offset", type=int, metavar="M", help="set this message aside, without a search")
    parser.add_argument(
        "--messages",
        type=int,
        default=1000,
        metavar="N",
        help="fold the first N that wait in a partition (1000, a chunk)",
    )
    parser.add_argument("--yes", action="store_true", help="set aside what the search finds")
    parser.add_argument("--config", type=Path, metavar="CHAIN.toml", help="of the workers (FOOTFALL_CONFIG)")


def quarantine(args: argparse.Namespace, values: Mapping[str, str], connect: Connect) -> int:
    """Mark the message that is named, or search; exit code 1 if the search finds one and may not mark it."""
    if args.offset is not None:
        if args.partition is None:
            raise ConfigError(["--offset needs --partition: offsets count in each partition by themselves"])
        kafka = connect()
        facts = describe_log(kafka)
        (found,) = waiting(kafka, facts, args.partition)
        if args.offset not in found.offsets:
            held = (
                f"offsets {found.offsets.start} to {found.offsets.stop - 1} wait" if found.offsets else "nothing waits"
            )
            raise ConfigError([f"{SIGHTINGS.name}[{args.partition}]: {held}, {args.offset} is not among them"])
        _mark(kafka, facts, args.partition, args.offset)
        return 0
    if args.messages < 1:
        raise ConfigError([f"--messages is {args.messages}: give 1 or more"])
    if not values.get("FOOTFALL_CONFIG"):
        raise ConfigError(["the search folds what waits: give the workers' --config (FOOTFALL_CONFIG), or an --offset"])
    load_chain(Path(values["FOOTFALL_CONFIG"]))
    kafka = connect()
    facts = describe_log(kafka)
    culprits = _search(kafka, facts, Path(values["FOOTFALL_CONFIG"]), args)
    for culprit in culprits:
        print(f"{SIGHTINGS.name}[{culprit.partition}] offset {culprit.offset} cannot be folded: {culprit.happens}")
        print("  " + ", ".join(f"{name} {fact}" for name, fact in culprit.about.items()))
        if args.yes:
            _mark(kafka, facts, culprit.partition, culprit.offset)
        else:
            command = f"footfall deadletters quarantine --partition {culprit.partition} --offset {culprit.offset}"
            print(f"  set it aside with: {command}")
    return 1 if culprits and not args.yes else 0


def _search(kafka: Mapping[str, str], facts: LogFacts, config: Path, args: argparse.Namespace) -> list[Culprit]:
    """At most one of each partition: behind it the state would be another."""
    culprits, folded = [], 0
    console = Console(stderr=True)
    for found in waiting(kafka, facts, args.partition):
        # A worker stops at the first chunk, and that is no longer.
        first = replace(found, offsets=found.offsets[: args.messages])
        if not first.offsets:
            continue
        with bar(console, f"{SIGHTINGS.name}[{found.partition}] messages folded") as show:
            culprit = find_culprit(kafka, config, first, show)
        if culprit is None:
            folded += len(first.offsets)
        else:
            culprits.append(culprit)
    if not culprits:
        print(
            f"the {folded} messages that come next can be folded: if workers end all the same, see their logs, "
            "or search further with --messages"
        )
    return culprits


def _mark(kafka: Mapping[str, str], facts: LogFacts, partition: int, offset: int) -> None:
    """Fences the partition's worker, whose restart finds the mark. A worker that starts meanwhile fences us: again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            PartitionLog(kafka, partition, facts).quarantine(offset)
            break
        except KafkaException as error:
            if attempt == _ATTEMPTS:
                raise BrokerUnavailable(f"partition {partition} could not be marked: {error}") from error
    print(
        f"{SIGHTINGS.name}[{partition}] offset {offset} is marked: its worker ends, starts again, makes a dead letter "
        "of it and goes on. After the fix: footfall deadletters replay --reason quarantined"
    )
