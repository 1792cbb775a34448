"""`make bench`: Footfall against what its users would pick instead, on the same data, in the same run.

Each benchmark checks that all contenders give the same answers before it reports a speed. `--write` puts the figures
into RESULTS.md. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from time import monotonic

from tests.bench import results
from tests.bench.report import Report

BENCHMARKS = ("collector", "streams", "fold", "sink", "end_to_end", "growth")


def main() -> int:
    """Exit code 1 if contenders disagree (an assertion fails); a missed target is a figure, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less data and fewer repetitions: all in five minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--write", action="store_true", help="put the figures into tests/bench/RESULTS.md")
    args = parser.parse_args()
    if unknown := set(args.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    if args.quick and args.write:
        parser.error("--quick figures are too rough for RESULTS.md: leave out --quick or --write")
    reports = [_run(name, quick=args.quick) for name in args.names or BENCHMARKS]
    for report in reports:
        sys.stdout.write("\n" + results.section(report))
    if args.write:
        results.write(reports)
    if args.json:
        facts = {"machine": results.machine(), "revision": results.revision(), "quick": args.quick}
        sys.stdout.write(json.dumps({**facts, "benchmarks": [report.to_json() for report in reports]}) + "\n")
    return 0


def _run(name: str, *, quick: bool) -> Report:
    began = monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{monotonic() - began:6.1f} s  {name}: {text}\n")
        sys.stderr.flush()

    report: Report = import_module(f"tests.bench.{name}").run(quick, say)
    return report


if __name__ == "__main__":
    sys.exit(main())
