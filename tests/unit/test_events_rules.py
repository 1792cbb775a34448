"""The profiles that ship are those of the design, and a rule that cannot be meant says why."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from footfall_events.rules import PROFILES, VisitRule

from tests.oracle.store_settings import PROFILES as ORACLE_PROFILES

RETAIL = PROFILES["retail"]
SIGNALS = "needs -120 <= passer_by_dbm <= stay_dbm <= enter_dbm <= -5"
GAP = "gap_s must be from 1 s to 4 h"
TIMES = "needs 0 <= min_dwell_s <= engaged_s < max_visit_s <= 24 h"


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_stands_under_its_own_name_and_has_no_problems(name: str) -> None:
    assert PROFILES[name].name == name
    assert PROFILES[name].problems() == []


def test_the_profiles_are_those_that_the_oracle_copied_from_the_design() -> None:
    assert {name: asdict(rule) for name, rule in PROFILES.items()} == ORACLE_PROFILES


def test_the_label_is_what_a_visit_says_of_its_rule() -> None:
    assert replace(RETAIL, name="quick", version=3).label == "quick@3"


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        pytest.param(replace(RETAIL, passer_by_dbm=-120), [], id="the weakest signal"),
        pytest.param(replace(RETAIL, passer_by_dbm=-121), [SIGNALS], id="weaker than any"),
        pytest.param(replace(RETAIL, enter_dbm=-5), [], id="the strongest signal"),
        pytest.param(replace(RETAIL, enter_dbm=-4), [SIGNALS], id="stronger than any"),
        pytest.param(replace(RETAIL, stay_dbm=-65, passer_by_dbm=-65), [], id="one threshold for all three"),
        pytest.param(replace(RETAIL, stay_dbm=-64), [SIGNALS], id="staying needs more than entering"),
        pytest.param(replace(RETAIL, passer_by_dbm=-69), [SIGNALS], id="passing by needs more than staying"),
        pytest.param(replace(RETAIL, gap_s=1), [], id="the shortest gap"),
        pytest.param(replace(RETAIL, gap_s=0), [GAP], id="no gap"),
        pytest.param(replace(RETAIL, gap_s=14_400), [], id="the longest gap"),
        pytest.param(replace(RETAIL, gap_s=14_401), [GAP], id="a longer gap"),
        pytest.param(replace(RETAIL, min_dwell_s=0), [], id="every dwell is a visit"),
        pytest.param(replace(RETAIL, min_dwell_s=-1), [TIMES], id="a negative dwell"),
        pytest.param(replace(RETAIL, min_dwell_s=900), [], id="every visitor is engaged"),
        pytest.param(replace(RETAIL, min_dwell_s=901), [TIMES], id="engaged before a visitor"),
        pytest.param(replace(RETAIL, engaged_s=14_399), [], id="engaged just before too long"),
        pytest.param(replace(RETAIL, engaged_s=14_400), [TIMES], id="engaged only when too long"),
        pytest.param(replace(RETAIL, max_visit_s=86_400), [], id="a visit of a day"),
        pytest.param(replace(RETAIL, max_visit_s=86_401), [TIMES], id="a visit of more than a day"),
        pytest.param(replace(RETAIL, enter_dbm=0, gap_s=0, min_dwell_s=-1), [SIGNALS, GAP, TIMES], id="all at once"),
    ],
)
def test_a_rule_that_cannot_be_meant_says_why(rule: VisitRule, problems: list[str]) -> None:
    assert rule.problems() == problems
