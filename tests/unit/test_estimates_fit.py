"""What a calibration may be fitted on and borrowed from, and what is refused with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from footfall_estimates.calibration import Calibration
from footfall_estimates.fit import Labelled, borrow, fit
from footfall_events.errors import ConfigError

from tests.unit.test_estimates_calibration import PEOPLE, a_day


def listened(day: Labelled, share: float, minutes: slice, sensors: slice = slice(None)) -> Labelled:
    near, of_minute = day.heard.near.copy(), day.heard.listened.copy()
    of_minute[minutes, sensors] = share
    if not share:
        near[minutes, sensors] = 0
    return replace(day, heard=replace(day.heard, near=near, listened=of_minute))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit("north", [a_day()])


def test_minutes_that_nobody_listened_to_are_not_fitted_on(calibration: Calibration) -> None:
    dark = fit("north", [listened(a_day(), 0, slice(100, 130))])
    assert dark.fitted_on["minutes"] == calibration.fitted_on["minutes"] - 30
    assert dark.rates["1"] == pytest.approx(calibration.rates["1"], rel=0.1)


@pytest.mark.parametrize(("share", "kept"), [(0.49, 0), (0.5, 10)])
def test_a_minute_counts_from_half_of_it_on(calibration: Calibration, share: float, kept: int) -> None:
    fitted = fit("north", [listened(a_day(), share, slice(100, 110))])
    assert fitted.fitted_on["minutes"] == calibration.fitted_on["minutes"] - 10 + kept


def test_a_day_that_nobody_listened_to_is_too_little() -> None:
    with pytest.raises(ConfigError, match="share 0 minutes with 0 person-minutes"):
        fit("north", [listened(a_day(), 0, slice(None))])


def test_sensors_that_heard_nobody_are_named() -> None:
    day = a_day(2)
    near = day.heard.near.copy()
    near[PEOPLE > 0] = 0
    with pytest.raises(ConfigError, match="sensors 1, 2 heard no burst at or above -65 dBm in 150 minutes with people"):
        fit("north", [replace(day, heard=replace(day.heard, near=near))])


def test_sensors_count_that_listened_at_a_time_and_not_one_after_the_other() -> None:
    half = len(PEOPLE) // 2
    in_turn = listened(listened(a_day(2), 0, slice(half), slice(1, 2)), 0, slice(half, None), slice(1))
    assert fit("north", [in_turn]).fitted_sensors == 1
    assert fit("north", [a_day(2)]).fitted_sensors == 2
    assert fit("north", [listened(a_day(3), 0, slice(200), slice(1)), in_turn]).fitted_sensors == 3


def test_sensors_count_in_minutes_whose_people_are_known_alone() -> None:
    day = listened(a_day(2), 0, slice(150), slice(1, 2))
    assert fit("north", [replace(day, levels=day.levels[:150])]).fitted_sensors == 1


def test_a_store_cannot_borrow_its_own_calibration_not_even_by_way_of_another(calibration: Calibration) -> None:
    assert borrow("south", calibration).borrowed_from == "north"
    for own in (calibration, borrow("south", calibration)):
        with pytest.raises(ConfigError, match="'north' cannot be borrowed for itself: borrow another store's"):
            borrow("north", own)
    with pytest.raises(ConfigError, match="'south' cannot be borrowed for itself"):
        borrow("south", borrow("south", calibration))
