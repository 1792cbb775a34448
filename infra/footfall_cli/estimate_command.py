"""`footfall estimate`: people inside, for every date whose minutes or calibration are newer than its estimates."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping

from clickhouse_connect.driver.client import Client
from footfall_estimates.calibration import Calibration
from footfall_estimates.evaluation import Windows, in_windows
from footfall_estimates.occupancy import estimate
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import WINDOW_MIN, StoreDate, heard_on, outdated, used_calibration, write_occupancy
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from rich.console import Console

from footfall_cli.progress import bar
from footfall_cli.warehouse import add_clickhouse_argument, warehouse

_FOLLOWED_DAYS = 4
"""With --follow, all of history is looked at once and these from then on: what comes later waits for the next start."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_clickhouse_argument(parser)
    parser.add_argument("--follow", type=float, metavar="S", help="go on, with a look every so many seconds")
    parser.add_argument("--metrics-host", default="127.0.0.1", metavar="HOST", help="address of /metrics")
    parser.add_argument("--metrics-port", type=int, default=9104, metavar="PORT", help="its port, 0 = any")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Work out what is outdated; with --follow until SIGTERM or SIGINT."""
    if args.follow is not None and args.follow <= 0:
        raise ConfigError([f"--follow is {args.follow:g}, must be more than 0 seconds"])
    gauges = Gauges(CollectorRegistry())
    with warehouse(args, environ) as client:
        if args.follow is None:
            dates = work_off(client, gauges, Console(stderr=True))
            print(f"estimated {dates} dates" if dates else "every estimate is up to date")
            return 0
        _follow(client, gauges, args)
    return 0


class Gauges:
    """People inside each store, as of its newest window."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        named = ("store_id", "calibration_id")
        text = "people inside in the newest window of five minutes"
        self._people = Gauge("footfall_estimates_occupancy", text, named, registry=registry)
        self._lo = Gauge("footfall_estimates_occupancy_lo", f"{text}, lower end of 95 %", named, registry=registry)
        self._hi = Gauge("footfall_estimates_occupancy_hi", f"{text}, upper end of 95 %", named, registry=registry)
        self._newest = Gauge(
            "footfall_estimates_window_timestamp_seconds", "start of that window", ("store_id",), registry=registry
        )
        self._shown: dict[str, tuple[int, str]] = {}

    def show(self, store_id: str, calibration: Calibration, windows: Windows) -> None:
        """Take a date's windows, unless a later date's were taken."""
        if not len(windows.numbers) or windows.numbers[-1] < self._shown.get(store_id, (0, ""))[0]:
            return
        if store_id in self._shown:
            for gauge in (self._people, self._lo, self._hi):
                gauge.remove(store_id, self._shown[store_id][1])
        self._shown[store_id] = (int(windows.numbers[-1]), calibration.calibration_id)
        for gauge, values in ((self._people, windows.people), (self._lo, windows.lo), (self._hi, windows.hi)):
            gauge.labels(store_id, calibration.calibration_id).set(float(values[-1]))
        self._newest.labels(store_id).set(float(windows.numbers[-1]) * WINDOW_MIN * 60)


def work_off(client: Client, gauges: Gauges, console: Console, last_days: int | None = None) -> int:
    """Estimate what is outdated in the newest days, the oldest date first; how many dates."""
    days = outdated(client, last_days)
    calibrations = {store_id: used_calibration(client, store_id) for store_id in {day.store_id for day in days}}
    with bar(console, "estimating") as show:
        for done, day in enumerate(days, start=1):
            _estimate(client, day, calibrations[day.store_id], gauges)
            show(done, len(days))
    return len(days)


def _estimate(client: Client, day: StoreDate, calibration: Calibration, gauges: Gauges) -> None:
    heard = heard_on(client, day)
    windows = in_windows(heard, estimate(calibration, heard), WINDOW_MIN)
    write_occupancy(client, day, calibration, windows)
    gauges.show(day.store_id, calibration, windows)


def _follow(client: Client, gauges: Gauges, args: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        server, _thread = start_http_server(args.metrics_port, args.metrics_host, gauges.registry)
    except OSError as error:
        raise ConfigError([f"metrics port {args.metrics_port}: {error.strerror}"]) from error
    try:
        last_days = None
        while not stop.is_set():
            work_off(client, gauges, Console(quiet=True), last_days)
            last_days = _FOLLOWED_DAYS
            stop.wait(args.follow)
    finally:
        server.shutdown()
        server.server_close()
