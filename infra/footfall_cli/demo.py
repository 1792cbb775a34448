"""`footfall demo`: a simulated chain through the whole pipeline, beside the truth that only a simulator knows."""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from footfall_events.errors import BrokerUnavailable
from footfall_events.stores import load_chain
from rich.console import Console
from rich.table import Table

from footfall_cli.children import Child
from footfall_cli.main import main as footfall_main
from footfall_cli.progress import bar
from footfall_cli.queries import query
from footfall_cli.simulator import SimulatedChain, simulate
from footfall_cli.stack import Stack, running

_START = date(2026, 3, 2)

# column of the table: (column of store_days, column of the truth)
_COMPARED = {
    "visitors": ("stable_visitors", "heard_visitors"),
    "visits": ("stable_visits", "heard_visits"),
    "new": ("stable_new", "heard_new"),
    "repeat": ("stable_repeat", "heard_repeat"),
    "bounced": ("stable_bounced", "heard_bounced"),
    "passers-by": ("stable_passers_by", "heard_passers_by"),
    "mean dwell s": ("mean_dwell_s", "heard_mean_dwell_s"),
    "median dwell s": ("median_dwell_s", "heard_median_dwell_s"),
    "capture rate": ("capture_rate", "heard_capture_rate"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stores", type=int, default=3, metavar="N")
    parser.add_argument("--days", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same chain")
    parser.add_argument("--visitors-per-day", type=int, default=200, metavar="N", help="people, per store")
    parser.add_argument("--keep", action="store_true", help="leave it running and say how to query it")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 0 only if every figure equals what the simulator says the radio heard."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="footfall-demo-") as temporary:
        directory = Path(temporary)
        chain = _simulate(args, directory, console)
        privacy = load_chain(chain.config).privacy
        console.print(
            f"Policy: {privacy.policy} {privacy.days}: pseudonyms are comparable across the {privacy.scope} for "
            f"{privacy.days} days; phones with random addresses are counted, never followed."
        )
        key = directory / "key.toml"
        init = ["keys", "init", "--config", str(chain.config), "--key-file", str(key), "--from-date", str(_START)]
        if footfall_main(init):
            return 1
        with running(chain.config, console, directory / "clickhouse") as stack:
            _collect(stack, chain, key, console)
            stack.drain(console)
            differences = _compare(stack, chain, console)
            if args.keep:
                _keep(stack, console)
    return 1 if differences else 0


def _simulate(args: argparse.Namespace, directory: Path, console: Console) -> SimulatedChain:
    with bar(console, "store-days simulated") as show:
        return simulate(
            directory / "chain",
            stores=args.stores,
            days=args.days,
            seed=args.seed,
            start=_START,
            visitors_per_day=args.visitors_per_day,
            progress=show,
        )


def _collect(stack: Stack, chain: SimulatedChain, key: Path, console: Console) -> None:
    children: list[Child] = []
    for store_id, captures in chain.captures.items():
        arguments: list[str | Path] = ["--store", store_id, "--key-file", key, "--heartbeat-s", "60"]
        for path in captures:
            arguments += ["--pcap", path]
        children.append(stack.collect(store_id, arguments))
    stack.wait_for(children, console)
    for child in children:
        if child.exit_code():
            raise BrokerUnavailable(f"{child.name} ended with {child.exit_code()}:\n{child.tail()}")


def _truth(chain: SimulatedChain) -> dict[tuple[str, str], dict[str, Any]]:
    truth = {}
    for row in pq.read_table(chain.truth / "store_days.parquet").to_pylist():
        met = row["heard_visits"] + row["heard_bounced"] + row["heard_passers_by"]
        row["heard_capture_rate"] = row["heard_visits"] / met if met else None
        truth[row["store_id"], str(row["business_date"])] = row
    return truth


def _compare(stack: Stack, chain: SimulatedChain, console: Console) -> int:
    """Print the table; how many figures differ from the truth."""
    rows = query(stack.clickhouse_url, "SELECT * FROM footfall.store_days ORDER BY store_id, business_date")
    truth = _truth(chain)
    table = Table(title="What ClickHouse says of the phones with stable addresses (simulator's truth)")
    for heading in ("store", "date", "people", *_COMPARED):
        table.add_column(heading, justify="left" if heading in ("store", "date") else "right")
    differences = 0
    measured = {(row["store_id"], str(row["business_date"])): row for row in rows}
    for place in sorted(truth.keys() | measured.keys()):
        row, true = measured.get(place, {}), truth.get(place, {})
        cells = []
        for name, true_name in _COMPARED.values():
            got, wanted = row.get(name), true.get(true_name)
            same = _equal(got, wanted)
            differences += not same
            cells.append(
                f"{_shown(got)} ({_shown(wanted)})" if same else f"[red]{_shown(got)} ({_shown(wanted)})[/red]"
            )
        table.add_row(*place, _shown(true.get("true_visitors")), *cells)
    Console(width=max(console.width, 160)).print(table)
    figures = len(_COMPARED) * len(truth)
    console.print(f"{figures - differences} of {figures} figures equal the truth.")
    return differences


def _equal(got: float | None, wanted: float | None) -> bool:
    if got is None or wanted is None:
        return got is wanted
    return abs(got - wanted) < 1e-6


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3g}" if value < 1 else f"{value:.1f}"


def _keep(stack: Stack, console: Console) -> None:
    console.print("Still running; end it with Ctrl-C. To query:")
    console.print(f'  curl "{stack.clickhouse_url}/" --data "SELECT * FROM footfall.chain_days"', highlight=False)
    console.print(f"  clickhouse-connect: get_client(host='127.0.0.1', port={stack.clickhouse_port})", highlight=False)
    console.print(f"  Kafka: {stack.kafka.bootstrap}", highlight=False)
    try:
        while True:
            signal.sigtimedwait([], 1)
            stack.supervise()
    except KeyboardInterrupt:
        console.print("ending")
