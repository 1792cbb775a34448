"""What a day comes to, whose people it counts, and how sensors that hear the same phones are taken together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from footfall_estimates.calibration import Calibration
from footfall_estimates.days import DayTotal, day_total
from footfall_estimates.fit import Labelled, borrow, fit
from footfall_estimates.minutes import Heard, hearing
from footfall_estimates.occupancy import Filtered
from numpy.typing import NDArray

from tests.unit.test_estimates_occupancy import joined, labelled, levels_of, sounding

Counts = NDArray[np.int64]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit("north", [labelled(seed) for seed in (1, 2, 3)])


def total(calibration: Calibration, heard: Heard) -> DayTotal:
    filtered = Filtered(calibration, heard)
    return day_total(heard, filtered, filtered.occupancy())


def hours(day: Labelled) -> float:
    return sum(level.people for level in day.levels) / 60


def test_the_hours_of_a_day_are_within_their_interval(calibration: Calibration) -> None:
    days = [labelled(seed) for seed in range(20, 60)]
    found = [total(calibration, day.heard) for day in days]
    inside = [one.visitor_h_lo <= hours(day) <= one.visitor_h_hi for one, day in zip(found, days, strict=True)]
    assert np.mean(inside) >= 0.9
    errors = [one.visitor_h / hours(day) - 1 for one, day in zip(found, days, strict=True)]
    assert abs(np.mean(errors)) < 0.05
    assert np.mean([(one.visitor_h_hi - one.visitor_h_lo) / one.visitor_h for one in found]) < 0.7


def test_the_same_minutes_come_to_the_same_day(calibration: Calibration) -> None:
    heard = labelled(20).heard
    assert total(calibration, heard) == total(calibration, heard)


def test_minutes_that_nobody_listened_to_are_no_part_of_the_day(calibration: Calibration) -> None:
    heard = labelled(22).heard
    half = len(heard) // 2
    listened = heard.listened.copy()
    listened[half:] = 0
    near = heard.near.copy()
    near[half:] = 0
    early = Heard(heard.first_minute, heard.sensors, heard.near[:half], heard.listened[:half], heard.passing[:half])
    cut = total(calibration, replace(heard, listened=listened, near=near))
    assert cut.visitor_h == pytest.approx(total(calibration, early).visitor_h, rel=0.02)


def test_nothing_heard_comes_to_nothing(calibration: Calibration) -> None:
    nothing = Heard(0, (), np.zeros((0, 0, 4), np.int64), np.zeros((0, 0)), np.zeros((0, 0), np.int64))
    found = total(calibration, nothing)
    assert found.apart == pytest.approx(0)
    assert replace(found, apart=0.0) == DayTotal(0, 0, 0, 1, 0, 0)


@pytest.mark.parametrize(("scale", "way"), [((1.8, 1), 1), ((1, 1.8), -1)])
def test_phones_unlike_those_of_the_truth_show(calibration: Calibration, scale: tuple[float, float], way: int) -> None:
    found = [total(calibration, labelled(seed, scale).heard).apart for seed in range(30, 34)]
    assert way * np.mean(found) > 1
    usual = [total(calibration, labelled(seed).heard).apart for seed in range(30, 34)]
    assert abs(np.mean(usual)) < 0.7


def test_a_crowd_larger_than_any_in_the_truth_shows(calibration: Calibration) -> None:
    crowd = sounding(np.full(300, 2 * round(calibration.fitted_people)), np.random.default_rng(4))
    assert total(calibration, crowd).beyond > 0.9
    assert total(calibration, labelled(35).heard).beyond < 0.05


def test_phones_that_the_truth_leaves_out_are_not_taken_for_people() -> None:
    def with_staff(seed: int) -> Labelled:
        """Three people with a phone whom the truth does not count are there while somebody else is."""
        day = labelled(seed)
        level = np.array([level.people for level in day.levels]).astype(np.int64)
        heard = sounding(np.where(level > 0, level + 3, 0), np.random.default_rng(seed))
        return Labelled(day.name, heard, levels_of(heard, level))

    calibration = fit("north", [with_staff(seed) for seed in range(1, 5)])
    assert calibration.uncounted[0] == pytest.approx(3 * 0.35, rel=0.4)
    days = [with_staff(seed) for seed in range(40, 52)]
    errors = [total(calibration, day.heard).visitor_h / hours(day) - 1 for day in days]
    assert abs(np.mean(errors)) < 0.06


def overlapping(share: float, sensors: int, seed: int = 1, minutes: int = 2000) -> Counts:
    """Addresses of which a share is heard by all sensors, each other one by one of them."""
    random = np.random.default_rng(seed)
    by_all = random.poisson(4 * share, (minutes, 1))
    return by_all + random.poisson(4 * (1 - share) / sensors, (minutes, sensors))


@pytest.mark.parametrize("sensors", [2, 3, 4])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_how_many_sensors_hear_the_same_is_told_by_counts_that_change_together(share: float, sensors: int) -> None:
    counts = overlapping(share, sensors)
    really = 1 + share * (sensors - 1)
    assert hearing([(counts, np.ones(counts.shape))]) == pytest.approx(really, rel=0.12)


def test_sensors_that_go_dark_at_once_do_not_seem_to_hear_the_same() -> None:
    counts = overlapping(0.0, 2)
    listened = np.ones(counts.shape)
    for begin in range(100, 2000, 200):
        counts[begin : begin + 50] = 0
        listened[begin : begin + 50] = 0
    assert hearing([(counts, listened)]) < 1.1


def test_one_sensor_hears_what_it_hears() -> None:
    counts = overlapping(1.0, 1)
    assert hearing([(counts, np.ones(counts.shape))]) == 1
    assert hearing([]) == 1


@pytest.mark.parametrize(
    ("is_same", "share"), [pytest.param(True, 1.0, id="all overlap"), pytest.param(False, 0.5, id="none does")]
)
def test_who_borrows_counts_a_person_as_often_as_its_own_sensors_overlap(
    calibration: Calibration, is_same: bool, share: float
) -> None:
    level = np.array([level.people for level in labelled(5).levels]).astype(np.int64)
    first = sounding(level, np.random.default_rng(1))
    second = replace(sounding(level, np.random.default_rng(1 if is_same else 2)), sensors=("2",))
    two = joined(first, second)
    rates = next(iter(borrow("south", calibration, [two]).rates.values()))
    assert rates == pytest.approx([share * rate for rate in calibration.rates["1"]], rel=0.15)


def test_who_borrows_without_minutes_takes_the_lenders_overlap(calibration: Calibration) -> None:
    assert next(iter(borrow("south", calibration).rates.values())) == calibration.rates["1"]
