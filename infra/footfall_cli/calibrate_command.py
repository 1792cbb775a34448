"""`footfall calibrate`: what a person sounds like in a store, from what was heard and the people who were there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from footfall_estimates.calibration import Calibration
from footfall_estimates.fit import Labelled, borrow, fit
from footfall_estimates.minutes import COLUMNS
from footfall_events.errors import ConfigError

from footfall_cli.labelled_days import add_truth_arguments, check_writable, known_from_files, known_from_minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="[SENSOR=]FILE", help="pcap or pcapng, of one store")
    parser.add_argument("--store", required=True, metavar="ID", help="the store that the calibration is for")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, as JSON, and not to ClickHouse")
    parser.add_argument("--from-clickhouse", action="store_true", help="take the store's minutes instead of captures")
    parser.add_argument("--borrow-from", metavar="ID", help="take over that store's calibration, with wider intervals")
    parser.add_argument("--clickhouse", metavar="URL", help="http://HOST:PORT of ClickHouse (FOOTFALL_CLICKHOUSE)")
    add_truth_arguments(parser, needed=False)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Fit or borrow, and keep it; exit code 1 if a capture could only be read in part."""
    sources = [bool(args.files), args.from_clickhouse, bool(args.borrow_from)]
    if sum(sources) != 1:
        raise ConfigError(["give capture files, --from-clickhouse or --borrow-from: one of them"])
    if bool(args.truth) == bool(args.borrow_from):
        raise ConfigError(["give --truth" if args.truth is None else "--borrow-from goes without --truth"])
    if args.out:
        check_writable(args.out)
    if args.files and args.out:
        known, is_whole = known_from_files(args, args.store)
        calibration = fit(args.store, known)
        args.out.write_text(calibration.to_json() + "\n", encoding="utf-8")
        _report(calibration, str(args.out))
        return 0 if is_whole else 1
    return _with_clickhouse(args, environ)


def _with_clickhouse(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    # Whoever works on files alone needs no client of ClickHouse.
    from footfall_sinks.estimates import store_calibration, used_calibration

    from footfall_cli.warehouse import warehouse

    with warehouse(args, environ) as client:
        is_whole = True
        known: list[Labelled] = []
        if args.files:
            known, is_whole = known_from_files(args, args.store)
        elif args.from_clickhouse:
            known = known_from_minutes(args, client)
        calibration = (
            fit(args.store, known) if known else borrow(args.store, used_calibration(client, args.borrow_from))
        )
        if args.out:
            args.out.write_text(calibration.to_json() + "\n", encoding="utf-8")
            _report(calibration, str(args.out))
        else:
            number = store_calibration(client, calibration)
            _report(calibration, f"number {number} of the store; `footfall estimate` restates its history")
    return 0 if is_whole else 1


def _report(calibration: Calibration, where: str) -> None:
    print(f"calibration {calibration.calibration_id} of {calibration.store_id}, {calibration.method}: {where}")
    for sensor_id, rates in calibration.rates.items():
        told = ", ".join(f"{rate:.3f} {name}" for rate, name in zip(rates, COLUMNS, strict=True))
        print(f"  sensor {sensor_id}, per person and minute: {told}")
    origin = f"borrowed from {calibration.borrowed_from}, " if calibration.borrowed_from else ""
    print(
        f"  {origin}fitted on {calibration.fitted_on['minutes']} minutes of {', '.join(calibration.fitted_on['days'])}"
    )
