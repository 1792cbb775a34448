"""`footfall simulate`: a chain with a known truth, as capture files and Parquet."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from footfall_events.errors import ConfigError
from rich.console import Console

from footfall_cli.progress import bar
from footfall_cli.simulator import simulate

_EXAMPLES = """examples:
  footfall simulate /tmp/chain                        three stores over three days
  footfall simulate /tmp/chain --stores 200 --days 1 --visitors-per-day 50
  footfall replay /tmp/chain/store-000/*.pcap --config /tmp/chain/chain.toml --store store-000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `footfall simulate`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write: chain.toml, captures, truth/")
    parser.add_argument("--stores", type=int, default=3, metavar="N", help="stores (default 3)")
    parser.add_argument("--days", type=int, default=3, metavar="N", help="business days (default 3)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same bytes (default 1)")
    parser.add_argument("--start", default="2026-03-02", metavar="DATE", help="first day (default 2026-03-02)")
    parser.add_argument("--sensors", type=int, default=2, metavar="N", help="sensors a store (default 2)")
    parser.add_argument(
        "--visitors-per-day", type=int, default=200, metavar="N", help="per store, on average (default 200)"
    )
    parser.add_argument(
        "--randomising-share",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="share of phones that use a new address for each scan, 0 to 1 (default 0.9)",
    )


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Simulate and say what was written; 0, or ConfigError for values out of range."""
    try:
        start = date.fromisoformat(args.start)
    except ValueError:
        raise ConfigError([f"--start is {args.start!r}, must be a date like 2026-03-02"]) from None
    with bar(Console(stderr=True), "store-days simulated") as show:
        try:
            chain = simulate(
                args.directory,
                stores=args.stores,
                days=args.days,
                seed=args.seed,
                start=start,
                visitors_per_day=args.visitors_per_day,
                randomising_share=args.randomising_share,
                sensors=args.sensors,
                progress=show,
            )
        except OSError as error:
            raise ConfigError([f"{args.directory}: cannot be written: {error.strerror}"]) from error
    files = [path for paths in chain.captures.values() for path in paths]
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} captures, {size_mb:.1f} MB; configuration {chain.config}; truth in {chain.truth}")
    return 0
