"""`footfall calibrate`: what a person sounds like in a store, from captures and the people who were there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from footfall_estimates.fit import Labelled, fit
from footfall_estimates.minutes import COLUMNS
from footfall_events.errors import ConfigError
from rich.console import Console

from footfall_cli.captures_heard import read_days
from footfall_cli.labelled_days import labelled


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that `calibrate` and `evaluate` share."""
    parser.add_argument("files", nargs="+", metavar="[SENSOR=]FILE", help="pcap or pcapng, of one store")
    parser.add_argument(
        "--truth", action="append", required=True, type=Path, metavar="T.csv", help="people inside, matched by time"
    )
    parser.add_argument("--flow", action="store_true", help="the truth is a door counter's: entries and exits")
    parser.add_argument("--ignore-oui", action="append", default=[], metavar="XX:XX:XX", help="leave equipment out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", required=True, metavar="ID", help="the store that the calibration is for")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="write the calibration there, as JSON")
    add_truth_arguments(parser)


def known_days(args: argparse.Namespace, store_id: str) -> tuple[list[Labelled], bool]:
    """The days whose people are known, and whether every capture could be read to its end; what is wrong is said."""
    days, warnings = read_days(args.files, store_id, args.ignore_oui, Console(stderr=True))
    _say(warnings)
    if not days:
        raise ConfigError(["no capture holds a frame"])
    known, remarks = labelled(days, args.truth, flow=args.flow)
    _say(remarks)
    return known, not warnings


def _say(texts: Sequence[str]) -> None:
    for text in texts:
        print(f"footfall: {text}", file=sys.stderr)


def check_writable(path: Path) -> None:
    """Raise ConfigError before any work is done for a file that cannot be written."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError([f"{path}: cannot be written: its directory must exist"])


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Fit and write; exit code 1 if a capture could only be read in part."""
    check_writable(args.out)
    known, is_whole = known_days(args, args.store)
    calibration = fit(args.store, known)
    args.out.write_text(calibration.to_json() + "\n", encoding="utf-8")
    print(f"calibration {calibration.calibration_id} of {args.store}, {calibration.method}: {args.out}")
    for sensor_id, rates in calibration.rates.items():
        told = ", ".join(f"{rate:.3f} {name}" for rate, name in zip(rates, COLUMNS, strict=True))
        print(f"  sensor {sensor_id}, per person and minute: {told}")
    print(f"  fitted on {calibration.fitted_on['minutes']} minutes of {', '.join(day.name for day in known)}")
    return 0 if is_whole else 1
