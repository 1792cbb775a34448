"""`footfall stores check`: validates a configuration without starting anything."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from footfall_events.stores import load_chain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"], help="report every problem, exit 2 if there is one")
    parser.add_argument("config", type=Path, metavar="CHAIN.toml")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    chain = load_chain(args.config)
    sensors = sum(len(store.sensors) for store in chain.stores.values())
    print(f"{args.config}: {len(chain.stores)} stores with {sensors} sensors, policy {chain.privacy.policy}")
    return 0
