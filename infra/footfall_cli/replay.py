"""`footfall replay`: the whole pipeline on capture files, from the air to SQL."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from footfall_collectors.settings import heartbeat_problem
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.stores import load_chain
from rich.console import Console

from footfall_cli.drained import dead_letters
from footfall_cli.queries import query
from footfall_cli.stack import Stack, running


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pcap or pcapng, each its own sensor")
    parser.add_argument("--store", required=True, metavar="ID", help="the store that the files were heard in")
    parser.add_argument("--sensor", metavar="ID", help="sensor of a single file, instead of the file's stem")
    parser.add_argument("--config", type=Path, metavar="CHAIN.toml", help="default: the store made on the spot, UTC")
    parser.add_argument("--ignore-oui", action="append", default=[], metavar="XX:XX:XX", help="leave equipment out")
    parser.add_argument("--heartbeat-s", type=int, default=60, metavar="S", help="event time between two batches")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--sql", action="append", default=[], metavar="QUERY", help="print its rows as one JSON array")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the database there")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Replay; exit code 1 if a file could only be read in part."""
    started = time.monotonic()
    sensors = _sensors(args)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="footfall-replay-") as temporary:
        config = _config(args, sensors, Path(temporary))
        report = Path(temporary) / "report.json"
        with running(config, console, args.data) as stack:
            code = _collect(stack, args, sensors, report, console)
            stack.drain(console)
            numbers = _numbers(stack, json.loads(report.read_text()))
            numbers["seconds"] = round(time.monotonic() - started, 1)
            if args.json or not args.sql:
                print(json.dumps(numbers))
            for sql in args.sql:
                print(json.dumps(query(stack.clickhouse_url, sql)))
    sys.stdout.flush()
    return code


def _sensors(args: argparse.Namespace) -> dict[str, Path]:
    """Each sensor's file; raises ConfigError for missing files, names that collide, a heartbeat that does not fit."""
    problems = [f"{path}: no such file" for path in args.files if not path.is_file()]
    problems += filter(None, [heartbeat_problem(args.heartbeat_s)])
    names = [args.sensor] if args.sensor else [path.stem for path in args.files]
    if args.sensor and len(args.files) > 1:
        problems.append("--sensor names the sensor of a single file: replay the others under their stems")
    problems += [f"two files would be sensor {name!r}: rename one" for name in {n for n in names if names.count(n) > 1}]
    if problems:
        raise ConfigError(problems)
    return dict(zip(names, args.files, strict=True))


def _config(args: argparse.Namespace, sensors: Mapping[str, Path], directory: Path) -> Path:
    """The given configuration, checked, or one with just this store: UTC, open all day."""
    if args.config:
        if args.ignore_oui:
            raise ConfigError(["--ignore-oui goes without --config: list it under ignored_ouis of the store"])
        chain = load_chain(args.config)
        if args.store not in chain.stores:
            raise ConfigError([f"{args.config}: has no store {args.store!r}, only {', '.join(sorted(chain.stores))}"])
        return Path(args.config)
    lines = ["[[stores]]", f"id = {json.dumps(args.store)}", f"sensors = {json.dumps(list(sensors))}"]
    lines.append(f"ignored_ouis = {json.dumps(args.ignore_oui)}")
    config = directory / "chain.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    load_chain(config)
    return config


def _collect(
    stack: Stack, args: argparse.Namespace, sensors: Mapping[str, Path], report: Path, console: Console
) -> int:
    arguments: list[str | Path] = ["--store", args.store, "--throwaway-key", "--report", report]
    arguments += ["--heartbeat-s", str(args.heartbeat_s)]
    for name, path in sensors.items():
        arguments += ["--pcap", f"{name}={path}"]
    child = stack.collect(args.store, arguments)
    stack.wait_for([child], console)
    code = child.exit_code() or 0
    if code == 2:
        raise ConfigError([line.removeprefix("footfall: ") for line in child.tail().splitlines()])
    if not report.exists():
        raise BrokerUnavailable(f"the collector ended with {code}:\n{child.tail()}")
    if code:
        console.print(child.tail(), markup=False, soft_wrap=True)
    return code


def _numbers(stack: Stack, report: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: report[name] for name in ("frames", "rejected_frames", "sightings", "batches")}
    for view in ("visits", "store_minutes", "sensor_minutes"):
        rows = query(stack.clickhouse_url, f"SELECT toUInt32(count()) AS n FROM footfall.{view}")
        numbers[view] = rows[0]["n"]
    numbers["late"] = stack.worker_counter("footfall_streams_late_sightings_total")
    numbers["dead_letters"] = dead_letters(stack.kafka.bootstrap)
    return numbers
