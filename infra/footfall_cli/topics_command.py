"""`footfall topics apply`, `footfall topics columns` and `footfall topics reset-state`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import suppress

from footfall_events.broker_access import check_access
from footfall_events.errors import BrokerUnavailable
from footfall_events.schemas import DESCRIBED
from footfall_events.settings import SettingsReader
from footfall_events.topics import TOPICS
from footfall_events.transport import KafkaTransport
from footfall_streams.checkpoint import describe_log, reset_state

from footfall_cli.topics import apply_topics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=["apply", "columns", "reset-state"],
        help="apply: create what is missing, report what differs. "
        "columns: name, type and meaning of what stands in each topic's Arrow batches. "
        "reset-state: forget the workers' state and take the log from its start; for a topic that was made anew",
    )
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka (FOOTFALL_BOOTSTRAP)")
    parser.add_argument("--partitions", type=int, metavar="N", help="instead of the contract's 24; fixed for good")
    parser.add_argument("--replication", type=int, default=1, metavar="N", help="copies of each partition")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if args.action == "columns":
        print("\n".join(_columns()))
        return 0
    read = SettingsReader({**environ, **({"FOOTFALL_BOOTSTRAP": args.bootstrap} if args.bootstrap else {})})
    transport = KafkaTransport.read(read)
    read.finish()
    with suppress(BrokerUnavailable):
        # One that is still starting is waited for by what comes next.
        check_access(transport)
    client = transport.client()
    if args.action == "reset-state":
        count = reset_state(client, describe_log(client))
        print(f"state of {count} partitions forgotten; workers take the log from its start, in a new log epoch")
        return 0
    for line in apply_topics(client, args.partitions, args.replication):
        print(line)
    return 0


def _columns() -> Iterator[str]:
    for topic in (topic for topic in TOPICS if topic.name in DESCRIBED):
        yield f"{topic.name}: {topic.purpose}"
        for column in DESCRIBED[topic.name]:
            kind = f"{column.type}{' or null' if column.nullable else ''}"
            yield f"  {column.name:24} {kind:29} {column.metadata[b'description'].decode()}"
