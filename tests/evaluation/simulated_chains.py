"""Visitors a day on simulated chains, against who really came: `python -m tests.evaluation.simulated_chains 201 202 …`.

Nine in ten phones randomise. A store's calibration is fitted on its first open days, the others are judged. Minutes
come from the captures by way of the collector, visits from the simulator's truth, which the pipeline's equal to the row
(see tests/pipeline/test_simulated_day.py); everything after that is ClickHouse, the commands and the views.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, redirect_stdout
from dataclasses import dataclass
from datetime import date
from io import StringIO
from multiprocessing import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.compute as pc
from footfall_cli.main import main
from footfall_cli.simulator import SimulatedChain, simulate
from footfall_collectors.collect import StoreRun
from footfall_collectors.pseudonyms import throwaway_key
from footfall_collectors.session import Batching
from footfall_events.schemas import AddressClass, Role
from footfall_events.stores import load_chain
from footfall_sinks.clickhouse import ClickHouseStore, open_client
from footfall_sinks.migrate import apply_schema

from tests.store.server import clickhouse
from tests.store.world import Row, World

FITTED_DAYS = 3
DAYS = 8
COUNTED = ("visitor", "staff")
"""Whom the truth counts; it says how many of them are staff."""


@dataclass(frozen=True)
class StoreDay:
    """Visitors of a date that was not fitted: really, estimated, and the interval's ends."""

    store_id: str
    business_date: date
    really: int
    people: float
    lo: float
    hi: float

    @property
    def error(self) -> float:
        """As a share of the truth."""
        return self.people / self.really - 1


def store_days(seed: int, stores: int = 3, days: int = DAYS, visitors: int = 300) -> list[StoreDay]:
    """Every store and date that was not fitted."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(TemporaryDirectory()))
        chain = simulate(place / "chain", stores=stores, days=days, seed=seed, visitors_per_day=visitors)
        url = stack.enter_context(clickhouse(place / "clickhouse"))
        client = stack.enter_context(closing(open_client(url)))
        apply_schema(client, None)
        world = World(client, stack.enter_context(closing(ClickHouseStore(url))))
        _fill(world, chain)
        return _judged(world, chain, place, url)


def _fill(world: World, chain: SimulatedChain) -> None:
    config = load_chain(chain.config)
    for store_id, paths in chain.captures.items():
        run = StoreRun(config.stores[store_id], config.privacy, throwaway_key(0), Batching())
        minutes = (output.rows for output in run.files({path.stem: path for path in paths}) if output.header is None)
        world.insert([row for rows in minutes for row in rows.to_pylist()])
    world.insert([_visit(number, row) for number, row in enumerate(chain.table("presences").to_pylist())])


def _visit(number: int, row: Row) -> Row:
    told = {name: value for name, value in row.items() if name not in ("person_id", "role")}
    constant = {"key_epoch": 1, "engaged": False, "rule_version": "retail@1", "version": 1, "deleted": 0}
    codes = {"address_class": AddressClass.GLOBAL, "role": Role[row["role"].upper()]}
    return {**told, **constant, **codes, "visit_id": number, "device_id": row["person_id"]}


def _judged(world: World, chain: SimulatedChain, place: Path, url: str) -> list[StoreDay]:
    found = []
    for store_id in chain.captures:
        truth = {
            row["business_date"]: row["true_visitors"]
            for row in chain.table("store_days").to_pylist()
            if row["store_id"] == store_id and row["true_visitors"]
        }
        fitted = sorted(truth)[:FITTED_DAYS]
        told = [f"--truth={_truth(chain, place, store_id, day)}" for day in fitted]
        with redirect_stdout(StringIO()):
            assert main(["calibrate", "--clickhouse", url, "--store", store_id, "--from-clickhouse", *told]) == 0
            assert main(["estimate", "--clickhouse", url]) == 0
        columns = "visitors_estimate, visitors_estimate_lo, visitors_estimate_hi"
        judged = world.rows(
            f"SELECT business_date, {columns} FROM footfall.visitor_estimates WHERE store_id = '{store_id}'"
        )
        found += [
            StoreDay(
                store_id, row["business_date"], truth[row["business_date"]], *(row[c] for c in columns.split(", "))
            )
            for row in judged
            if row["business_date"] in truth and row["business_date"] not in fitted
        ]
    return found


def _truth(chain: SimulatedChain, place: Path, store_id: str, day: date) -> Path:
    """People inside on a date, minute by minute, as a camera would write them down; nobody for an hour at its ends."""
    people = chain.table("people")
    of_day = people.filter((pc.field("store_id") == store_id) & (pc.field("business_date") == day))
    rows = [row for row in of_day.to_pylist() if row["kind"] in COUNTED]
    spans = {
        kind: [(r["entered_at"].timestamp(), r["left_at"].timestamp()) for r in rows if r["kind"] == kind]
        for kind in COUNTED
    }
    first = min(begin for of_kind in spans.values() for begin, _ in of_kind) // 60 * 60 - 3600
    last = max(end for of_kind in spans.values() for _, end in of_kind) + 3600
    lines = ["from_epoch_utc,to_epoch_utc,occupancy,staff"]
    for begin in range(int(first), int(last), 60):
        inside = {kind: sum(a <= begin + 30 < b for a, b in of_kind) for kind, of_kind in spans.items()}
        lines.append(f"{begin},{begin + 60},{sum(inside.values())},{inside['staff']}")
    path = place / f"{store_id}-{day}.csv"
    path.write_text("\n".join(lines))
    return path


def told(days: Sequence[StoreDay]) -> str:
    """The line in streams/footfall_estimates/README.md."""
    errors = np.array([day.error for day in days])
    inside = np.mean([day.lo <= day.really <= day.hi for day in days])
    width = np.mean([(day.hi - day.lo) / day.people / 2 for day in days])
    doubt = 1.96 * errors.std() / np.sqrt(len(errors))
    return (
        f"{len(days)} store-days: mean signed error {errors.mean():+.1%} (± {doubt:.1%}), mean absolute error "
        f"{np.abs(errors).mean():.1%}; {inside:.0%} within their interval of ± {width:.0%} on average"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="+")
    with Pool(2) as pool:
        chains = pool.map(store_days, parser.parse_args().seeds, chunksize=1)
    sys.stdout.write(told([day for one in chains for day in one]) + "\n")
