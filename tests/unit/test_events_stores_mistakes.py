"""Every mistake in the chain's configuration is reported with its place and its remedy, all of them at once."""

from __future__ import annotations

from datetime import date, datetime, time
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from footfall_events.errors import ConfigError
from footfall_events.stores import load_chain, parse_chain

MONDAY = date(2026, 1, 5)
LOYALTY = {"policy": "loyalty", "legal_basis": "consent", "notice_date": date(2026, 1, 5)}
Table = dict[str, Any]


def store(**changes: object) -> Table:
    """A store's table as TOML gives it, with changes."""
    return {"id": "north", "sensors": ["door"], **changes}


def chain(*stores: object, **root: object) -> Table:
    return {"stores": list(stores), **root}


def rule(**changes: object) -> Table:
    return {"name": "own", **changes}


def problems(document: Table) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_chain(document)
    return caught.value.problems


ID = "must be 1 to 100 letters, digits, '.', '_' or '-'"
HOURS = "must be like '09:00-20:00', 'all day' or 'closed'"
NAMES = "retail, meraki, aruba, cloud4wi, purple"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param({"id": ""}, f"id: is '', {ID}", id="no id"),
        pytest.param({"id": "a/b"}, f"id: is 'a/b', {ID}", id="a slash, which checkpoint keys are split at"),
        pytest.param({"id": "x" * 101}, f"id: is {'x' * 101!r}, {ID}", id="an id that is too long"),
        pytest.param({"name": 5}, "name: is 5, must be a text", id="a name that is a number"),
        pytest.param({"region": True}, "region: is True, must be a text", id="a region that is a bool"),
        pytest.param({"sensors": []}, "sensors: names 0, must be from 1 to 64", id="no sensor"),
        pytest.param({"sensors": [f"s{n}" for n in range(65)]}, "sensors: names 65, must be from 1 to 64", id="65"),
        pytest.param({"sensors": ["a", "a"]}, "sensors: names one twice", id="a sensor twice"),
        pytest.param({"sensors": ["a", "b c"]}, f"sensors[1]: is 'b c', {ID}", id="a sensor with a space"),
        pytest.param({"sensors": ["a", 1]}, f"sensors[1]: is 1, {ID}", id="a sensor that is a number"),
        pytest.param({"area_m2": True}, "area_m2: is True, must be a number", id="a bool for a number"),
        pytest.param({"area_m2": "9"}, "area_m2: is '9', must be a number", id="a text for a number"),
        pytest.param({"area_m2": -1}, "area_m2: is -1, must be from 0 to 10000000", id="a negative area"),
        pytest.param({"area_m2": nan}, "area_m2: is nan, must be from 0 to 10000000", id="no number at all"),
        pytest.param({"area_m2": inf}, "area_m2: is inf, must be from 0 to 10000000", id="an infinite area"),
        pytest.param(
            {"time_zone": "Mars/Base"},
            "time_zone: is 'Mars/Base', must be an IANA name like 'Europe/Berlin'",
            id="an unknown zone",
        ),
        pytest.param(
            {"time_zone": "../Berlin"},
            "time_zone: is '../Berlin', must be an IANA name like 'Europe/Berlin'",
            id="a zone that leaves the database",
        ),
        pytest.param(
            {"time_zone": "Europe"},
            "time_zone: is 'Europe', must be an IANA name like 'Europe/Berlin'",
            id="a zone that is a directory",
        ),
        pytest.param(
            {"cutover": "04:00"}, "cutover: is '04:00', must be a local time like 04:00:00", id="a quoted cut-over"
        ),
        pytest.param(
            {"cutover": time(4, 30)},
            "cutover: is 04:30:00, must be a full hour from 00:00:00 to 12:00:00",
            id="a cut-over at half past",
        ),
        pytest.param(
            {"cutover": time(13)},
            "cutover: is 13:00:00, must be a full hour from 00:00:00 to 12:00:00",
            id="a cut-over in the afternoon",
        ),
        pytest.param(
            {"own_bssids": ["02:00:00:aa:bb"]},
            "own_bssids[0]: is '02:00:00:aa:bb', must be like '02:00:00:aa:bb:cc'",
            id="a BSSID cut short",
        ),
        pytest.param(
            {"ignored_ouis": ["dc:fb:48", "dcfb48"]},
            "ignored_ouis[1]: is 'dcfb48', must be like 'dc:fb:48'",
            id="an OUI without separators",
        ),
        pytest.param(
            {"ignored_ouis": "dc:fb:48"}, "ignored_ouis: is 'dc:fb:48', must be an array", id="an OUI on its own"
        ),
        pytest.param(
            {"opening_margin_s": 21_601}, "opening_margin_s: is 21601, must be from 0 to 21600", id="a wide margin"
        ),
        pytest.param(
            {"opening_margin_s": 1.5}, "opening_margin_s: is 1.5, must be a whole number", id="a broken margin"
        ),
        pytest.param({"opening": "09:00-20:00"}, "opening: is '09:00-20:00', must be a table", id="hours, no table"),
        pytest.param({"opening": {"mon": "9-20"}}, f"opening.mon: is '9-20', {HOURS}", id="hours without minutes"),
        pytest.param({"opening": {"mon": "09:00-24:00"}}, f"opening.mon: is '09:00-24:00', {HOURS}", id="24 o'clock"),
        pytest.param({"opening": {"mon": False}}, f"opening.mon: is False, {HOURS}", id="hours that are a bool"),
        pytest.param(
            {"opening": {"monday": "closed"}},
            "opening.monday: must be mon..sun, daily, or a date like 2026-12-25",
            id="a weekday in full",
        ),
        pytest.param(
            {"opening": {"2026-02-30": "closed"}},
            "opening.2026-02-30: must be mon..sun, daily, or a date like 2026-12-25",
            id="a date that does not exist",
        ),
        pytest.param(
            {"opening": {"20261224": "closed"}},
            "opening.20261224: must be mon..sun, daily, or a date like 2026-12-25",
            id="a second spelling of a date",
        ),
        pytest.param({"rule": "retial"}, f"rule: is 'retial', must be one of {NAMES}", id="an unknown profile"),
        pytest.param({"rule": 3}, "rule: is 3, must be a profile's name or a table", id="a rule that is a number"),
        pytest.param(
            {"rule": rule(based_on="retial")},
            f"rule.based_on: is 'retial', must be one of {NAMES}",
            id="a rule of an unknown profile",
        ),
        pytest.param({"rule": {}}, "rule.name: is '': give the rule a name of its own", id="a rule without a name"),
        pytest.param(
            {"rule": {"name": "retail", "gap_s": 60}},
            "rule.name: is 'retail': give the rule a name of its own",
            id="a rule under a profile's name",
        ),
        pytest.param(
            {"rule": rule(version=0)}, "rule.version: is 0, must be from 1 to 10000", id="a rule of version 0"
        ),
        pytest.param(
            {"rule": rule(gap_s="60")}, "rule.gap_s: is '60', must be a whole number", id="a quoted threshold"
        ),
        pytest.param(
            {"rule": rule(enter_dbm=-200)},
            "rule.enter_dbm: is -200, must be from -120 to 86400",
            id="a threshold out of range",
        ),
        pytest.param(
            {"rule": rule(enter_dbm=-75)},
            "rule: needs -120 <= passer_by_dbm <= stay_dbm <= enter_dbm <= -5",
            id="a rule that cannot be meant",
        ),
        pytest.param({"rule": rule(gap=60)}, "rule.gap: is not a setting known here", id="an unknown threshold"),
        pytest.param(
            {"allowed_lateness_s": 3601}, "allowed_lateness_s: is 3601, must be from 0 to 3600", id="too patient"
        ),
        pytest.param({"stale_after_s": 0}, "stale_after_s: is 0, must be from 1 to 86400", id="stale at once"),
        pytest.param(
            {"stale_after_s": 120},
            "stale_after_s: is 120, must exceed max_clock_lead_s (120)",
            id="stale within the lead",
        ),
        pytest.param(
            {"max_clock_lead_s": 3601, "stale_after_s": 4000},
            "max_clock_lead_s: is 3601, must be from 1 to 3600",
            id="a long lead",
        ),
        pytest.param(
            {"revision_horizon_s": 604_801},
            "revision_horizon_s: is 604801, must be from 0 to 604800",
            id="a horizon beyond the log's retention",
        ),
        pytest.param(
            {"valid_from": date(2026, 1, 5)},
            "valid_from: is not a setting known here",
            id="a first version with a date",
        ),
        pytest.param({"sensor": ["a"]}, "sensor: is not a setting known here", id="an unknown key"),
        pytest.param({"changes": {}}, "changes: is {}, must be an array of tables", id="changes that are a table"),
    ],
)
def test_a_mistake_in_a_store_is_reported_with_its_place_and_remedy(table: Table, problem: str) -> None:
    assert problems(chain(store(id="first"), store(**table))) == [f"stores[1].{problem}"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param({}, "valid_from: is missing: the business date from which the change applies", id="no date"),
        pytest.param(
            {"valid_from": "2026-03-01"}, "valid_from: is '2026-03-01', must be a date like 2026-01-31", id="quoted"
        ),
        pytest.param(
            {"valid_from": datetime(2026, 3, 1)},  # noqa: DTZ001 -- what TOML gives for a local date-time
            "valid_from: is datetime.datetime(2026, 3, 1, 0, 0), must be a date like 2026-01-31",
            id="a date with a time of day",
        ),
        pytest.param(
            {"valid_from": date(2026, 3, 1), "time_zone": "Europe/Berlin"},
            "time_zone: and cutover cannot change in place: close the store and open it anew",
            id="another time zone",
        ),
        pytest.param(
            {"valid_from": date(2026, 3, 1), "cutover": time(5)},
            "time_zone: and cutover cannot change in place: close the store and open it anew",
            id="another cut-over",
        ),
        pytest.param(
            {"valid_from": date(2026, 3, 1), "sensors": ["b"]}, "sensors: is not a setting known here", id="sensors"
        ),
        pytest.param(
            {"valid_from": date(2026, 3, 1), "rule": "none"}, f"rule: is 'none', must be one of {NAMES}", id="its rule"
        ),
    ],
)
def test_a_mistake_in_a_change_is_reported_with_its_place_and_remedy(table: Table, problem: str) -> None:
    good = {"valid_from": date(2026, 2, 1)}
    document = chain(store(id="first"), store(changes=[good, table]))
    assert problems(document) == [f"stores[1].changes[1].{problem}"]


@pytest.mark.parametrize(
    "dates",
    [
        pytest.param([date(2026, 3, 1), date(2026, 2, 1)], id="falling"),
        pytest.param([date(2026, 3, 1), date(2026, 3, 1)], id="twice"),
    ],
)
def test_changes_must_be_in_order(dates: list[date]) -> None:
    document = chain(store(changes=[{"valid_from": day} for day in dates]))
    assert problems(document) == ["stores[0].changes: valid_from must rise from one change to the next"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param({}, "stores: at least one [[stores]] table is needed", id="an empty file"),
        pytest.param({"stores": []}, "stores: at least one [[stores]] table is needed", id="an empty array"),
        pytest.param({"stores": {}}, "stores: is {}, must be an array of tables", id="[stores] for [[stores]]"),
        pytest.param(chain(store(), chain=1), "chain: is 1, must be a text", id="a chain's name"),
        pytest.param(chain(store(), store=1), "store: is not a setting known here", id="an unknown key at the top"),
        pytest.param(
            chain(store(), store(id="south"), store()), "stores[2].id: 'north' occurs twice", id="two stores of one id"
        ),
        pytest.param(
            chain(store(rule=rule(gap_s=60)), store(id="south", rule=rule(gap_s=90))),
            "stores[1].rule.version: own@1 has other thresholds elsewhere in the file: raise the version",
            id="one label for two rules",
        ),
        pytest.param(
            chain(store(rule=rule(gap_s=60), changes=[{"valid_from": MONDAY, "rule": rule(gap_s=90)}])),
            "stores[0].changes[0].rule.version: own@1 has other thresholds elsewhere in the file: raise the version",
            id="a rule changed under its old label",
        ),
    ],
)
def test_a_mistake_at_the_top_is_reported(document: Table, problem: str) -> None:
    assert problems(document) == [problem]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param({"policy": "weekly"}, "policy: is 'weekly', must be 'daily' or 'loyalty'", id="a new policy"),
        pytest.param({**LOYALTY, "scope": "all"}, "scope: is 'all', must be 'store' or 'chain'", id="a new scope"),
        pytest.param({**LOYALTY, "days": 31}, "days: is 31, must be from 1 to 30", id="too long"),
        pytest.param({**LOYALTY, "days": 0}, "days: is 0, must be from 1 to 30", id="too short"),
        pytest.param({**LOYALTY, "days": True}, "days: is True, must be a whole number", id="a bool for days"),
        pytest.param(
            {"days": 7},
            "policy: 'daily' means days = 1 and scope = 'store'; use 'loyalty' for more",
            id="daily for a week",
        ),
        pytest.param(
            {"scope": "chain"},
            "policy: 'daily' means days = 1 and scope = 'store'; use 'loyalty' for more",
            id="daily across the chain",
        ),
        pytest.param(
            {**LOYALTY, "legal_basis": ""},
            "policy: 'loyalty' needs legal_basis and notice_date: no notice, no collection",
            id="loyalty without a legal basis",
        ),
        pytest.param(
            {"policy": "loyalty", "legal_basis": "consent"},
            "policy: 'loyalty' needs legal_basis and notice_date: no notice, no collection",
            id="loyalty without a notice",
        ),
        pytest.param({"retention": 3}, "retention: is not a setting known here", id="an unknown key"),
    ],
)
def test_a_mistake_in_the_privacy_policy_is_reported(table: Table, problem: str) -> None:
    assert problems(chain(store(), privacy=table)) == [f"privacy.{problem}"]


def test_that_there_is_no_store_is_said_beside_every_other_problem() -> None:
    assert problems({"privacy": {"policy": "weekly"}, "store": []}) == [
        "privacy.policy: is 'weekly', must be 'daily' or 'loyalty'",
        "stores: at least one [[stores]] table is needed",
        "store: is not a setting known here",
    ]


def test_a_store_that_is_no_table_is_said_to_be_none() -> None:
    assert problems(chain("north"))[0] == "stores[0]: must be a table"


def test_all_problems_of_a_file_are_reported_at_once_each_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chain.toml"
    path.write_text(
        """
        chian = "typo"
        [privacy]
        policy = "weekly"
        [[stores]]
        id = "north"
        sensors = []
        time_zone = "Mars"
        [[stores]]
        id = "north"
        sensors = ["door"]
        area_m2 = true
        rule = { name = "own", min_dwell_s = 5000, engaged_s = 60 }
          [stores.opening]
          mon = "late"
          [[stores.changes]]
          rule = "none"
        """,
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_chain(path)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    assert sorted(problem.removeprefix(f"{path}: ").split(": ")[0] for problem in caught.value.problems) == [
        "chian",
        "privacy.policy",
        "stores[0].sensors",
        "stores[0].time_zone",
        "stores[1].area_m2",
        "stores[1].changes[0].rule",
        "stores[1].changes[0].valid_from",
        "stores[1].id",
        "stores[1].opening.mon",
        "stores[1].rule",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"[[stores]\n", "not TOML: ", id="not TOML"),
        pytest.param(b"cutover = 04:00\n", "not TOML: ", id="a time without seconds"),
        pytest.param(b'chain = "\xff"\n', "not TOML: 'utf-8' codec", id="not UTF-8"),
        pytest.param(b"days = " + b"9" * 5000, "not TOML: ", id="a number that no one can read"),
        pytest.param(b"", "stores: at least one [[stores]] table is needed", id="empty"),
    ],
)
def test_a_file_that_holds_no_configuration_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "chain.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_chain(path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{path}: {problem}")


def test_a_file_that_is_missing_or_a_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    for path, why in ((missing, "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load_chain(path)
        assert caught.value.problems == [f"{path}: cannot be read: {why}"]
