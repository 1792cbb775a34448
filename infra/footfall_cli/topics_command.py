"""`footfall topics apply`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from footfall_events.settings import SettingsReader

from footfall_cli.topics import apply_topics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["apply"], help="create what is missing, report what differs")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka (FOOTFALL_BOOTSTRAP)")
    parser.add_argument("--partitions", type=int, metavar="N", help="instead of the contract's 24; fixed for good")
    parser.add_argument("--replication", type=int, default=1, metavar="N", help="copies of each partition")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    read = SettingsReader({**environ, **({"FOOTFALL_BOOTSTRAP": args.bootstrap} if args.bootstrap else {})})
    bootstrap = read.text("FOOTFALL_BOOTSTRAP")
    read.finish()
    for line in apply_topics(bootstrap, args.partitions, args.replication):
        print(line)
    return 0
