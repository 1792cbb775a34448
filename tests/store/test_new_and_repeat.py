"""Who is new and who comes back: within the lookback, one key epoch, one store, or the chain if the scope allows."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from footfall_events.business_days import day_number
from footfall_events.schemas import Role
from footfall_events.stores import PrivacyPolicy

from tests.store.world import LOYALTY, MONDAY, Row, World, opens, sensor_minute, visit

NEW, REPEAT = (1, 1, 0), (1, 0, 1)
FIGURES = "stable_visitors, stable_new, stable_repeat"


def later(days: int) -> date:
    return MONDAY + timedelta(days=days)


def heard(world: World, visits: list[Row]) -> None:
    """Insert the visits, and for each a minute in which its store's sensor listened."""
    world.insert([*visits, *(sensor_minute(row["store_id"], row["business_date"]) for row in visits)])


@pytest.mark.parametrize(
    ("days", "figures"),
    [
        pytest.param(1, REPEAT, id="the next day"),
        pytest.param(29, REPEAT, id="29 days"),
        pytest.param(30, REPEAT, id="30 days still count"),
        pytest.param(31, NEW, id="31 do not"),
    ],
)
def test_a_visitor_is_repeat_within_the_lookback(world: World, days: int, figures: tuple[int, ...]) -> None:
    world.configure("north", **LOYALTY)
    heard(world, [visit("north", MONDAY), visit("north", later(days))])
    assert world.days(FIGURES)[MONDAY] == NEW
    assert world.days(FIGURES)[later(days)] == figures
    assert world.chain_days(FIGURES)[later(days)] == figures


def test_every_day_looks_back_from_itself(world: World) -> None:
    world.configure("north", **LOYALTY)
    heard(world, [visit("north", later(days)) for days in (0, 20, 40, 80)])
    found = world.days(FIGURES)
    assert [found[later(days)] for days in (0, 20, 40, 80)] == [NEW, REPEAT, REPEAT, NEW]


def test_a_second_visit_on_the_first_day_makes_nobody_repeat(world: World) -> None:
    world.configure("north", **LOYALTY)
    evening = opens(MONDAY) + timedelta(hours=16)
    heard(world, [visit("north", MONDAY), visit("north", MONDAY, first=evening)])
    assert world.days(FIGURES) == world.chain_days(FIGURES) == {MONDAY: NEW}
    assert world.days("repeat_share") == {MONDAY: 0}


def test_two_visits_on_a_day_look_back_to_the_day_before_not_to_each_other(world: World) -> None:
    world.configure("north", **LOYALTY)
    noon, evening = (opens(later(1)) + timedelta(hours=hours) for hours in (8, 16))
    heard(
        world, [visit("north", MONDAY), visit("north", later(1), first=evening), visit("north", later(1), first=noon)]
    )
    found = world.rows("SELECT business_date, last_business_date FROM footfall.visitor_days ORDER BY business_date")
    assert [tuple(row.values()) for row in found] == [(MONDAY, None), (later(1), MONDAY)]
    assert world.days(FIGURES)[later(1)] == REPEAT


@pytest.mark.parametrize("role", [Role.PASSER_BY, Role.BOUNCED, Role.STAFF_OR_FIXED])
def test_only_a_visitor_visit_makes_a_later_one_repeat(world: World, role: Role) -> None:
    world.configure("north", **LOYALTY)
    heard(world, [visit("north", MONDAY, role=role), visit("north", later(1))])
    assert world.days(FIGURES)[later(1)] == NEW


def test_a_visit_withdrawn_makes_the_next_one_new_again(world: World) -> None:
    world.configure("north", **LOYALTY)
    heard(world, [visit("north", MONDAY), visit("north", later(1))])
    assert world.days(FIGURES)[later(1)] == REPEAT
    world.insert([visit("north", MONDAY, version=2, deleted=1)])
    assert world.days(FIGURES)[later(1)] == NEW


def epochs(policy: PrivacyPolicy, days: list[int]) -> list[Row]:
    """One visit of what would be the same pseudonym on each day, under the key epoch that the policy gives it."""
    return [visit("north", later(n), key_epoch=policy.epoch_of(day_number(later(n)))) for n in days]


def test_nobody_is_repeat_under_the_daily_policy(world: World) -> None:
    world.configure("north")
    heard(world, epochs(PrivacyPolicy(), [0, 1, 2]))
    assert world.rows("SELECT policy, epoch_days FROM footfall.chain") == [{"policy": "daily", "epoch_days": 1}]
    assert world.days(FIGURES) == world.chain_days(FIGURES) == dict.fromkeys([MONDAY, later(1), later(2)], NEW)


def test_under_loyalty_a_device_is_known_until_its_key_epoch_ends(world: World) -> None:
    policy = PrivacyPolicy("loyalty", days=7)
    first_of_next = next(n for n in range(1, 8) if day_number(later(n)) % 7 == 0)
    world.configure("north", **(LOYALTY | {"days": 7}))
    heard(world, epochs(policy, [first_of_next - 2, first_of_next - 1, first_of_next, first_of_next + 1]))
    assert list(world.days(FIGURES).values()) == [NEW, REPEAT, NEW, REPEAT]
    assert list(world.chain_days(FIGURES).values()) == [NEW, REPEAT, NEW, REPEAT]


@pytest.mark.parametrize(
    ("scope", "device_in_south", "chain"),
    [
        pytest.param("store", 2, (1, 1, 0), id="under store scope it has another pseudonym there"),
        pytest.param("chain", 1, (1, 0, 1), id="under chain scope the chain knows it again"),
    ],
)
def test_a_device_that_goes_to_another_store(
    world: World, scope: str, device_in_south: int, chain: tuple[int, ...]
) -> None:
    world.configure("north", "south", **LOYALTY, scope=scope)
    heard(world, [visit("north", MONDAY, device=1), visit("south", later(1), device=device_in_south)])
    assert world.days(FIGURES, "south")[later(1)] == NEW
    assert world.chain_days(FIGURES)[later(1)] == chain


def test_the_chain_counts_a_device_of_chain_scope_once_a_day(world: World) -> None:
    world.configure("north", "south", **LOYALTY, scope="chain")
    heard(world, [visit(store, day) for store in ("north", "south") for day in (MONDAY, later(1))])
    assert world.chain_days("stable_visitors, stable_visits, stable_repeat") == {MONDAY: (1, 2, 0), later(1): (1, 2, 1)}


@pytest.mark.parametrize(("lookback", "figures"), [(2, NEW), (3, REPEAT)])
def test_one_lookback_rules_stores_and_chain(world: World, lookback: int, figures: tuple[int, ...]) -> None:
    world.configure("north", **LOYALTY)
    assert world.rows("SELECT lookback_days FROM footfall.chain") == [{"lookback_days": 30}]
    replaced = f"SELECT * REPLACE (load + 1 AS load, {lookback} AS lookback_days) FROM footfall.chain_log FINAL"
    world.client.command(f"INSERT INTO footfall.chain_log {replaced}")
    heard(world, [visit("north", MONDAY), visit("north", later(3))])
    assert world.days(FIGURES)[later(3)] == world.chain_days(FIGURES)[later(3)] == figures
