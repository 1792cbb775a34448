"""`footfall estimate`: people inside, for every date whose minutes or calibration are newer than its estimates."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client
from footfall_estimates.calibration import Calibration
from footfall_estimates.days import day_total
from footfall_estimates.evaluation import in_windows
from footfall_estimates.occupancy import Filtered
from footfall_events.errors import ConfigError
from footfall_sinks.estimates import (
    WINDOW_MIN,
    Newest,
    StoreDate,
    heard_on,
    newest_windows,
    outdated,
    used_calibration,
    write_occupancy,
)
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
    """Work out what is outdated; with --follow until SIGTERM or SIGINT. Exit code 1 if a calibration is unreadable."""
    if args.follow is not None and args.follow <= 0:
        raise ConfigError([f"--follow is {args.follow:g}, must be more than 0 seconds"])
    with warehouse(args, environ) as client:
        if args.follow is not None:
            _follow(client, args)
            return 0
        worked = work_off(client, Console(stderr=True))
    print(f"estimated {worked.dates} dates" if worked.dates else "every estimate is up to date")
    return 1 if worked.unreadable else 0


@dataclass(frozen=True)
class Worked:
    """How many dates were estimated, and the stores whose calibration cannot be read."""

    dates: int
    unreadable: Sequence[str]


def work_off(
    client: Client, console: Console, last_days: int | None = None, is_over: Callable[[], bool] = lambda: False
) -> Worked:
    """Estimate what is outdated in the newest days, the oldest date first, until it `is_over`."""
    days = outdated(client, last_days)
    calibrations: dict[str, Calibration] = {}
    unreadable = []
    for store_id in sorted({day.store_id for day in days}):
        try:
            calibrations[store_id] = used_calibration(client, store_id)
        except ConfigError as error:
            unreadable.append(store_id)
            print(f"footfall: store {store_id}: {error}", file=sys.stderr)
    ready = [day for day in days if day.store_id in calibrations]
    done = 0
    with bar(console, "estimating") as show:
        for day in ready:
            if is_over():
                break
            _estimate(client, day, calibrations[day.store_id])
            done += 1
            show(done, len(ready))
    return Worked(done, unreadable)


def _estimate(client: Client, day: StoreDate, calibration: Calibration) -> None:
    heard = heard_on(client, day)
    filtered = Filtered(calibration, heard)
    occupancy = filtered.occupancy()
    windows = in_windows(heard, occupancy, WINDOW_MIN)
    write_occupancy(client, day, calibration, windows, day_total(heard, filtered, occupancy))


class Gauges:
    """People inside each store, as of its newest window, and whose calibration wants attention."""

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
        self._drifts = Gauge(
            "footfall_estimates_outside_fitted_range",
            "1 = phones or crowds have left the range of the store's calibration",
            ("store_id",),
            registry=registry,
        )
        self._unreadable = Gauge(
            "footfall_estimates_unreadable_calibrations", "stores whose calibration cannot be read", registry=registry
        )

    def show(self, newest: Sequence[Newest], worked: Worked) -> None:
        """Take each store's newest window, and nothing of stores that have none."""
        for gauge in (self._people, self._lo, self._hi, self._newest, self._drifts):
            gauge.clear()
        for one in newest:
            for gauge, value in ((self._people, one.people), (self._lo, one.lo), (self._hi, one.hi)):
                gauge.labels(one.store_id, one.calibration_id).set(value)
            self._newest.labels(one.store_id).set(one.window_start.timestamp())
            self._drifts.labels(one.store_id).set(one.drifts)
        self._unreadable.set(len(worked.unreadable))


def _follow(client: Client, args: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    gauges = Gauges(CollectorRegistry())
    try:
        server, _thread = start_http_server(args.metrics_port, args.metrics_host, gauges.registry)
    except OSError as error:
        raise ConfigError([f"metrics port {args.metrics_port}: {error.strerror}"]) from error
    try:
        last_days = None
        while not stop.is_set():
            worked = work_off(client, Console(quiet=True), last_days, stop.is_set)
            gauges.show(newest_windows(client, _FOLLOWED_DAYS), worked)
            last_days = _FOLLOWED_DAYS
            stop.wait(args.follow)
    finally:
        server.shutdown()
        server.server_close()
