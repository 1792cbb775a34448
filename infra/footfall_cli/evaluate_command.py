"""`footfall evaluate`: how far a calibration's estimates are from the people who were there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from footfall_estimates.calibration import Calibration, from_json
from footfall_estimates.evaluation import Windows, in_windows, joined, scores
from footfall_estimates.fit import Labelled
from footfall_estimates.occupancy import estimate
from footfall_estimates.truth import windows
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import calibration_named

from footfall_cli.labelled_days import add_truth_arguments, check_writable, known_from_files, say, written
from footfall_cli.warehouse import add_clickhouse_argument, warehouse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="[SENSOR=]FILE", help="pcap or pcapng, of one store")
    kept = "of `footfall calibrate --out`, or the id of one in ClickHouse"
    parser.add_argument("--calibration", required=True, metavar="FILE|ID", help=kept)
    add_clickhouse_argument(parser)
    parser.add_argument("--window-min", type=int, default=5, metavar="MIN", help="length of a window (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw truth, estimate and interval over the day")
    add_truth_arguments(parser, needed=True)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Evaluate; exit code 1 if a capture could only be read in part."""
    if not 1 <= args.window_min <= 60 * 24:
        raise ConfigError([f"--window-min is {args.window_min}, must be from 1 to 1440"])
    if args.plot:
        check_writable(args.plot)
    calibration = _calibration(args, environ)
    known = known_from_files(args, calibration.store_id)
    say(known.hours_off)
    if not known.days:
        raise ConfigError(["no truth file tells of a time that a capture heard"])
    estimates = [in_windows(day.heard, estimate(calibration, day.heard), args.window_min) for day in known.days]
    truth = _truth(known.days, args.window_min)
    found = scores(joined(estimates), truth)
    if args.json:
        print(json.dumps({"calibration_id": calibration.calibration_id, **found}))
    else:
        for name, value in found.items():
            print(f"{name:>14}  {value}")
    if args.plot:
        with written(args.plot):
            _plot(args.plot, estimates, truth, args.window_min)
    return 0 if known.is_whole else 1


def _calibration(args: argparse.Namespace, environ: Mapping[str, str]) -> Calibration:
    path = Path(args.calibration)
    if path.exists() or not (args.clickhouse or environ.get("FOOTFALL_CLICKHOUSE")):
        try:
            return from_json(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    with warehouse(args, environ) as client:
        return calibration_named(client, args.calibration)


def _truth(days: list[Labelled], window_min: int) -> dict[int, float]:
    return {number: people for day in days for number, people in windows(day.levels, window_min * 60).items()}


def _plot(path: Path, estimates: list[Windows], truth: Mapping[int, float], window_min: int) -> None:
    # Only who asks for a drawing loads the library.
    from footfall_cli.occupancy_plot import draw

    draw(path, estimates, truth, window_min)
