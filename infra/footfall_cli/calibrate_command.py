"""`footfall calibrate`: what a person sounds like in a store, from what was heard and the people who were there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from footfall_estimates.calibration import Calibration
from footfall_estimates.fit import borrow, fit
from footfall_estimates.minutes import COLUMNS
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import heard_lately, store_calibration, used_calibration

from footfall_cli.labelled_days import (
    Known,
    add_truth_arguments,
    check_writable,
    known_from_files,
    known_from_minutes,
    say,
    written,
)
from footfall_cli.warehouse import add_clickhouse_argument, warehouse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="[SENSOR=]FILE", help="pcap or pcapng, of one store")
    parser.add_argument("--store", required=True, metavar="ID", help="the store that the calibration is for")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, as JSON, and not to ClickHouse")
    parser.add_argument("--from-clickhouse", action="store_true", help="take the store's minutes instead of captures")
    parser.add_argument("--borrow-from", metavar="ID", help="take over that store's calibration, with wider intervals")
    add_clickhouse_argument(parser)
    add_truth_arguments(parser, needed=False)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Fit or borrow, and keep it; exit code 1 if a capture could only be read in part."""
    sources = [bool(args.files), args.from_clickhouse, bool(args.borrow_from)]
    if sum(sources) != 1:
        raise ConfigError(["give capture files, --from-clickhouse or --borrow-from: one of them"])
    if bool(args.truth) == bool(args.borrow_from):
        raise ConfigError(["give --truth" if args.truth is None else "--borrow-from goes without --truth"])
    if args.borrow_from == args.store:
        raise ConfigError([f"--borrow-from {args.store} is the store itself: borrow another store's calibration"])
    if args.out:
        check_writable(args.out)
    calibration, is_whole = _calibration(args, environ)
    where = str(args.out)
    if args.out:
        with written(args.out):
            args.out.write_text(calibration.to_json() + "\n", encoding="utf-8")
    else:
        with warehouse(args, environ) as client:
            number = store_calibration(client, calibration)
        where = f"number {number} of the store; `footfall estimate` restates its history"
    _report(calibration, where)
    return 0 if is_whole else 1


def _calibration(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Calibration, bool]:
    """The calibration, and whether every capture it rests on could be read to its end."""
    if args.files:
        known = known_from_files(args, args.store)
        return _fitted(args.store, known), known.is_whole
    with warehouse(args, environ) as client:
        if args.borrow_from:
            lender = used_calibration(client, args.borrow_from)
            days = heard_lately(client, args.store)
            if not days:
                say(
                    [f"store {args.store!r} has no minutes: its sensors are taken to overlap like {args.borrow_from}'s"]
                )
            return borrow(args.store, lender, days), True
        return _fitted(args.store, known_from_minutes(args, client)), True


def _fitted(store_id: str, known: Known) -> Calibration:
    if known.hours_off:
        raise ConfigError(known.hours_off)
    return fit(store_id, known.days)


def _report(calibration: Calibration, where: str) -> None:
    print(f"calibration {calibration.calibration_id} of {calibration.store_id}, {calibration.method}: {where}")
    for sensor_id, rates in calibration.rates.items():
        told = ", ".join(f"{rate:.3f} {name}" for rate, name in zip(rates, COLUMNS, strict=True))
        print(f"  sensor {sensor_id}, per person and minute: {told}")
    origin = f"borrowed from {calibration.borrowed_from}, " if calibration.borrowed_from else ""
    print(
        f"  {origin}fitted on {calibration.fitted_on['minutes']} minutes of {', '.join(calibration.fitted_on['days'])}"
    )
