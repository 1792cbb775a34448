"""`footfall keys init`: makes the key of the first epoch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from footfall_collectors.pseudonyms import init_key
from footfall_events.business_days import day_number
from footfall_events.errors import ConfigError
from footfall_events.settings import SettingsReader
from footfall_events.stores import load_chain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["init"], help="write a new random key; an existing one is never touched")
    parser.add_argument("--config", metavar="CHAIN.toml", help="the chain's configuration (FOOTFALL_CONFIG)")
    parser.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="written with mode 0600")
    parser.add_argument("--from-date", required=True, metavar="YYYY-MM-DD", help="first business date it serves")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    read = SettingsReader({**environ, **({"FOOTFALL_CONFIG": args.config} if args.config else {})})
    config = read.text("FOOTFALL_CONFIG")
    read.finish()
    try:
        first = date.fromisoformat(args.from_date)
    except ValueError as error:
        raise ConfigError([f"--from-date is {args.from_date!r}: give a date like 2026-01-31"]) from error
    privacy = load_chain(Path(config)).privacy
    init_key(args.key_file, privacy, privacy.epoch_of(day_number(first)))
    print(f"{args.key_file}: key for policy {privacy.policy}, scope {privacy.scope}")
    return 0
