"""What estimates must be worth on the real captures: each day judged by a calibration that has not seen it."""

from __future__ import annotations

import pytest
from footfall_estimates.evaluation import scores

from tests.evaluation.leave_one_day_out import (
    BASELINES,
    DAYS,
    EMPTY_DAY,
    Day,
    bootstrap,
    day,
    errors,
    filtered,
    leave_one_out,
    together,
)

pytestmark = pytest.mark.captures


@pytest.fixture(scope="module")
def days() -> list[Day]:
    return [day(date) for date in DAYS]


def test_days_that_were_not_fitted_are_told_within_the_error_we_promise(days: list[Day]) -> None:
    found = leave_one_out(days)
    total = together(found["joint filter"])
    assert total["windows"] == 200
    assert total["mae"] <= 1.6
    assert abs(total["bias"]) <= 0.7
    assert 0.90 <= total["coverage_95"] <= 0.98
    assert total["mae_live"] <= 1.8
    ours = errors(found["joint filter"])
    for name in BASELINES:
        assert bootstrap(ours - errors(found[name]))[1] < 0, f"not certainly better than {name}"


def test_an_empty_day_is_told_as_empty(days: list[Day]) -> None:
    empty = day(EMPTY_DAY)
    found = scores(filtered(days, empty.known.heard), empty.truth)
    assert found["windows"] == 288
    assert found["mean_estimate"] is not None
    assert found["mean_estimate"] <= 0.1
