"""The chain's days: sums of its stores' where they must be, figures of their own where sums would lie."""

from __future__ import annotations

from datetime import timedelta

import pytest
from footfall_events.schemas import Role

from tests.store.world import LOYALTY, MONDAY, World, heard_all_day, sensor_minute, store_minute, visit

TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)


@pytest.fixture
def chain(world: World) -> World:
    """North with three visitors on Monday, south with one and a passer-by; east dark; everybody back on Tuesday."""
    world.configure("north", "south", "east", **LOYALTY)
    rows = [visit("south", TUESDAY, device=6, dwell_s=60, role=Role.BOUNCED)]
    for day in (MONDAY, TUESDAY):
        rows += [*heard_all_day("north", day), sensor_minute("south", day)]
        rows += [visit("north", day, device=device, dwell_s=300 * device) for device in (1, 2, 3)]
        rows += [visit("south", day, device=4, dwell_s=3000), visit("south", day, device=5, dwell_s=None)]
    world.insert(rows)
    return world


SUMMED = ("stable_visits", "stable_bounced", "stable_passers_by", "stable_visitors", "stable_new", "stable_repeat")


def test_under_store_scope_every_count_is_the_sum_of_the_stores(chain: World) -> None:
    columns = ", ".join(SUMMED)
    assert chain.chain_days(columns) == {MONDAY: (4, 0, 1, 4, 4, 0), TUESDAY: (4, 1, 1, 4, 0, 4)}
    sums = ", ".join(f"sum({column}) AS {column}" for column in SUMMED)
    stores = chain.rows(f"SELECT business_date, {sums} FROM footfall.store_days GROUP BY business_date")
    assert {row["business_date"]: tuple(row[name] for name in SUMMED) for row in stores} == chain.chain_days(columns)


def test_dwell_is_taken_over_all_visits_not_over_the_stores_figures(chain: World) -> None:
    # 300, 600, 900 and 3000 s; the mean of the stores' means would be 1800, of their medians as well.
    assert chain.chain_days("mean_dwell_s, median_dwell_s")[MONDAY] == (1200, 750)


def test_rates_come_from_the_chains_counts(chain: World) -> None:
    assert chain.chain_days("capture_rate, repeat_share") == {MONDAY: (4 / 5, 0), TUESDAY: (4 / 6, 1)}


def test_coverage_is_the_mean_of_the_configured_stores_dark_ones_included(chain: World) -> None:
    assert chain.chain_days("stores_heard, stores_configured")[MONDAY] == (2, 3)
    assert chain.chain_days("coverage")[MONDAY] == pytest.approx((1 + 1 / 1440 + 0) / 3, abs=1e-12)


def test_a_date_on_which_nobody_was_heard_shows_nulls(chain: World) -> None:
    chain.insert([sensor_minute("north", WEDNESDAY + timedelta(days=1))])
    columns = ", ".join((*SUMMED, "capture_rate", "mean_dwell_s", "stores_heard", "coverage", "is_final"))
    assert chain.chain_days(columns)[WEDNESDAY] == (*(None,) * 8, 0, 0, 0)


def test_a_date_is_final_once_it_is_in_every_store_heard(chain: World) -> None:
    chain.insert([store_minute("north", MONDAY), store_minute("south", MONDAY), store_minute("north", TUESDAY)])
    assert chain.chain_days("is_final") == {MONDAY: 0, TUESDAY: 0}
    chain.insert([store_minute("south", TUESDAY)])
    assert chain.chain_days("is_final") == {MONDAY: 1, TUESDAY: 0}
