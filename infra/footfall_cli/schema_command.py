"""`footfall schema apply`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from footfall_sinks.command import add_schema_arguments, run_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["apply"], help="apply migrations, load the stores and sensors")
    add_schema_arguments(parser)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    return run_schema(args, environ)
