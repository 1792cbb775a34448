"""The chain's configuration: what a good file means."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from footfall_events.rules import PROFILES
from footfall_events.stores import (
    OPEN_ALL_DAY,
    ChainConfig,
    Hours,
    PrivacyPolicy,
    StoreConfig,
    load_chain,
    parse_chain,
)

EXAMPLE = Path(__file__).parents[2] / "infra" / "chain.example.toml"
MONDAY = date(2026, 1, 5)
SUNDAY = date(2026, 1, 11)
LOYALTY = {"policy": "loyalty", "legal_basis": "consent", "notice_date": date(2026, 1, 5)}
Table = dict[str, Any]


def store(**changes: object) -> Table:
    """A store's table as TOML gives it, with changes."""
    return {"id": "north", "sensors": ["door"], **changes}


def chain(*stores: object, **root: object) -> Table:
    return {"stores": list(stores), **root}


def parsed(**changes: object) -> StoreConfig:
    return parse_chain(chain(store(**changes))).stores["north"]


def rule(**changes: object) -> Table:
    return {"name": "own", **changes}


def test_the_example_loads_and_says_what_it_reads_like() -> None:
    example = load_chain(EXAMPLE)
    assert (example.chain, sorted(example.stores)) == ("example", ["harbour", "north"])
    assert example.privacy == PrivacyPolicy(
        "loyalty", 30, "chain", "consent, recorded at the loyalty desk", date(2026, 1, 5)
    )
    north = example.stores["north"]
    assert (north.name, north.region, north.area_m2) == ("North Street", "north", 420)
    assert north.sensors == ("north-door", "north-till")
    assert north.settings_on(date(2026, 8, 31)).rule.label == "retail@1"
    assert north.settings_on(date(2026, 9, 1)).rule.label == "north-quick@1"
    assert north.settings_on(date(2026, 9, 1)).rule.min_dwell_s == 180
    assert north.versions[0].hours_on(date(2026, 12, 24)) == (time(9), time(14))
    assert example.stores["harbour"].versions[0].time_zone == "America/New_York"


def test_an_id_and_a_sensor_are_enough_and_the_defaults_are_those_of_the_design() -> None:
    one = parsed()
    assert (one.name, one.region, one.area_m2, one.sensors) == ("north", "", 0, ("door",))
    assert (one.allowed_lateness_s, one.stale_after_s, one.max_clock_lead_s) == (30, 300, 120)
    assert one.revision_horizon_s == 86_400
    [version] = one.versions
    assert (version.valid_from, version.time_zone, version.cutover) == (None, "UTC", time(4))
    assert (version.opening, version.opening_dates, version.opening_margin_s) == ((), {}, 1800)
    assert (version.rule, version.own_bssids, version.ignored_ouis) == (PROFILES["retail"], frozenset(), frozenset())
    assert parse_chain(chain(store())).privacy == PrivacyPolicy("daily", 1, "store", "", None)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_rule_may_be_a_profile_by_name(profile: str) -> None:
    assert parsed(rule=profile).versions[0].rule == PROFILES[profile]


def test_a_rule_table_takes_from_its_profile_what_it_does_not_name() -> None:
    own = parsed(rule=rule(version=7, based_on="meraki", gap_s=60)).versions[0].rule
    meraki = PROFILES["meraki"]
    assert (own.label, own.gap_s) == ("own@7", 60)
    assert (own.enter_dbm, own.stay_dbm, own.passer_by_dbm) == (
        meraki.enter_dbm,
        meraki.stay_dbm,
        meraki.passer_by_dbm,
    )
    assert (own.min_dwell_s, own.engaged_s, own.max_visit_s) == (
        meraki.min_dwell_s,
        meraki.engaged_s,
        meraki.max_visit_s,
    )


def test_a_rule_table_without_a_profile_or_version_is_retail_version_one() -> None:
    own = parsed(rule=rule(min_dwell_s=240)).versions[0].rule
    assert (own.label, own.enter_dbm, own.min_dwell_s) == ("own@1", PROFILES["retail"].enter_dbm, 240)


def test_one_rule_may_be_given_to_several_stores() -> None:
    stores = [store(rule=rule(gap_s=60)), store(id="south", rule=rule(gap_s=60))]
    assert {one.versions[0].rule.label for one in parse_chain(chain(*stores)).stores.values()} == {"own@1"}


@pytest.mark.parametrize("spelling", ["02:00:00:aa:bb:cc", "02-00-00-AA-BB-CC", "02:00:00:Aa:bB:cc"])
def test_a_bssid_may_be_spelled_with_dashes_or_capitals(spelling: str) -> None:
    assert parsed(own_bssids=[spelling]).versions[0].own_bssids == {"02:00:00:aa:bb:cc"}


@pytest.mark.parametrize("spelling", ["dc:fb:48", "DC-FB-48", "Dc:fB:48"])
def test_an_oui_may_be_spelled_with_dashes_or_capitals(spelling: str) -> None:
    assert parsed(ignored_ouis=[spelling]).versions[0].ignored_ouis == {"dc:fb:48"}


@pytest.mark.parametrize(
    ("opening", "day", "hours"),
    [
        pytest.param({}, MONDAY, OPEN_ALL_DAY, id="nothing said is open all day"),
        pytest.param({"daily": "09:00-20:00"}, SUNDAY, (time(9), time(20)), id="daily holds on every day"),
        pytest.param({"daily": "09:00-20:00", "sun": "closed"}, SUNDAY, None, id="a weekday overrides daily"),
        pytest.param({"daily": "09:00-20:00", "sun": "closed"}, MONDAY, (time(9), time(20)), id="and only itself"),
        pytest.param({"mon": "10:00-18:30"}, MONDAY, (time(10), time(18, 30)), id="weekdays alone"),
        pytest.param({"mon": "10:00-18:30"}, SUNDAY, None, id="leave the others closed"),
        pytest.param({"daily": "closed"}, MONDAY, None, id="closed every day"),
        pytest.param({"daily": "all day"}, SUNDAY, OPEN_ALL_DAY, id="all day in words"),
        pytest.param({"daily": "00:00-00:00"}, SUNDAY, OPEN_ALL_DAY, id="all day in figures"),
        pytest.param({"daily": "closed", "2026-01-11": "12:00-17:00"}, SUNDAY, (time(12), time(17)), id="a date"),
        pytest.param({"sun": "09:00-20:00", "2026-01-11": "closed"}, SUNDAY, None, id="a date overrides its weekday"),
        pytest.param({"2026-01-11": "closed"}, MONDAY, OPEN_ALL_DAY, id="dates alone leave the others open"),
        pytest.param({"daily": "18:00-02:00"}, MONDAY, (time(18), time(2)), id="over midnight"),
        pytest.param({"daily": "09:00-00:00"}, MONDAY, (time(9), time(0)), id="until midnight"),
    ],
)
def test_opening_hours_of_a_day(opening: Table, day: date, hours: Hours) -> None:
    assert parsed(opening=opening).versions[0].hours_on(day) == hours


def test_a_change_inherits_what_it_does_not_name() -> None:
    first = {
        "opening": {"daily": "09:00-20:00", "2026-12-24": "closed"},
        "opening_margin_s": 600,
        "rule": "meraki",
        "own_bssids": ["02:00:00:aa:bb:cc"],
        "ignored_ouis": ["dc:fb:48"],
        "time_zone": "Europe/Berlin",
        "cutover": time(5),
    }
    one = parsed(
        **first,
        changes=[
            {"valid_from": date(2026, 3, 1), "rule": "purple"},
            {"valid_from": date(2026, 4, 1), "opening": {"mon": "10:00-12:00"}, "own_bssids": []},
        ],
    )
    base, second, third = one.versions
    assert second.valid_from == date(2026, 3, 1)
    assert second.rule == PROFILES["purple"]
    inherited = ("opening", "opening_dates", "opening_margin_s", "own_bssids", "ignored_ouis", "time_zone", "cutover")
    assert {name: getattr(second, name) for name in inherited} == {name: getattr(base, name) for name in inherited}
    assert third.rule == PROFILES["purple"]
    assert (third.opening[0], third.opening[1], third.opening_dates) == ((time(10), time(12)), None, {})
    assert (third.own_bssids, third.ignored_ouis) == (frozenset(), frozenset({"dc:fb:48"}))


@pytest.mark.parametrize(
    ("day", "profile"),
    [
        pytest.param(date(1999, 1, 1), "retail", id="from ever"),
        pytest.param(date(2026, 2, 28), "retail", id="the day before a change"),
        pytest.param(date(2026, 3, 1), "meraki", id="the day itself"),
        pytest.param(date(2026, 3, 31), "meraki", id="between two changes"),
        pytest.param(date(2026, 4, 1), "purple", id="the second change"),
        pytest.param(date(2099, 1, 1), "purple", id="for ever"),
    ],
)
def test_the_business_date_chooses_the_settings(day: date, profile: str) -> None:
    changes = [
        {"valid_from": date(2026, 3, 1), "rule": "meraki"},
        {"valid_from": date(2026, 4, 1), "rule": "purple"},
    ]
    assert parsed(changes=changes).settings_on(day).rule.name == profile


@pytest.mark.parametrize(
    ("policy", "epochs"),
    [
        pytest.param(PrivacyPolicy(), [20_000, 20_001, 20_002], id="daily: a key a day"),
        pytest.param(PrivacyPolicy("loyalty", 2), [10_000, 10_000, 10_001], id="loyalty: a key every so many days"),
    ],
)
def test_the_key_epoch_of_a_business_day(policy: PrivacyPolicy, epochs: list[int]) -> None:
    assert [policy.epoch_of(day) for day in (20_000, 20_001, 20_002)] == epochs


def test_a_loyalty_policy_may_span_the_chain_for_thirty_days() -> None:
    privacy = parse_chain(chain(store(), privacy={**LOYALTY, "days": 30, "scope": "chain"})).privacy
    assert privacy == PrivacyPolicy("loyalty", 30, "chain", "consent", date(2026, 1, 5))


def test_a_good_file_gives_what_its_tables_give(tmp_path: Path) -> None:
    path = tmp_path / "chain.toml"
    path.write_text('chain = "c"\n[[stores]]\nid = "north"\nsensors = ["door"]\ncutover = 05:00:00\n', encoding="utf-8")
    assert load_chain(path) == parse_chain(chain(store(cutover=time(5)), chain="c"))
    assert isinstance(load_chain(path), ChainConfig)
