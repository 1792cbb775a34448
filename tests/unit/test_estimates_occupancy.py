"""The filter over people and the day's rates, on days that are drawn from its assumptions and on some that are not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from footfall_estimates.calibration import Calibration, from_json
from footfall_estimates.evaluation import in_windows, scores
from footfall_estimates.fit import Labelled, fit
from footfall_estimates.minutes import COLUMNS, Heard
from footfall_estimates.occupancy import estimate
from footfall_estimates.truth import Level, windows
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

RATES = (0.35, 0.2)
"""Near addresses per person and minute, random and stable."""
EXPECTED = (0.35, 0.42, 0.2, 0.24)
MINUTES = 480


def people(random: np.random.Generator) -> NDArray[np.int64]:
    """A day that fills, changes and empties: nobody in its first and last hour."""
    level = np.zeros(MINUTES, np.int64)
    now = 0
    for minute in range(60, MINUTES - 60):
        goal = 14 * np.sin((minute - 60) / (MINUTES - 120) * np.pi)
        if random.random() < 0.3:
            now = max(0, now + int(np.sign(goal - now + random.normal(0, 3))))
        level[minute] = now
    return level


def sounding(level: NDArray[np.int64], random: np.random.Generator, scale: tuple[float, float] = (1, 1)) -> Heard:
    """What one sensor hears of these people, each independently in each minute."""
    near = np.zeros((len(level), 1, 4), np.int64)
    for number, (rate, by) in enumerate(zip(RATES, scale, strict=True)):
        addresses = random.poisson(0.005 + level * rate * by)
        near[:, 0, 2 * number] = addresses
        near[:, 0, 2 * number + 1] = addresses + random.binomial(addresses, 0.2)  # some phones ask twice
    return Heard(28_000_000, ("1",), near, np.ones((len(level), 1)), near[:, :, 0])


def joined(first: Heard, second: Heard) -> Heard:
    """Two sensors of one store, heard in the same minutes."""
    near = np.concatenate([first.near, second.near], axis=1)
    listened = np.concatenate([first.listened, second.listened], axis=1)
    return Heard(first.first_minute, first.sensors + second.sensors, near, listened, near[:, :, 0])


def levels_of(heard: Heard, level: NDArray[np.int64]) -> list[Level]:
    return [Level(60 * m, 60 * m + 60, n) for m, n in zip(heard.minutes.tolist(), level.tolist(), strict=True)]


def labelled(seed: int, scale: tuple[float, float] = (1, 1)) -> Labelled:
    random = np.random.default_rng(seed)
    level = people(random)
    heard = sounding(level, random, scale)
    return Labelled(f"day {seed}", heard, levels_of(heard, level))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit("north", [labelled(1), labelled(2), labelled(3)])


def scored(calibration: Calibration, day: Labelled) -> dict[str, float | int | None]:
    found = in_windows(day.heard, estimate(calibration, day.heard), 5)
    return scores(found, windows(day.levels, 300))


def mae(calibration: Calibration, day: Labelled) -> float:
    value = scored(calibration, day)["mae"]
    assert value is not None
    return value


def test_a_fit_finds_the_rates_the_truth_was_drawn_with(calibration: Calibration) -> None:
    assert calibration.rates["1"] == pytest.approx(EXPECTED, rel=0.06)


def test_an_ordinary_day_is_followed_within_two_people(calibration: Calibration) -> None:
    found = [scored(calibration, labelled(seed)) for seed in range(10, 16)]
    assert np.mean([one["mae"] for one in found]) < 1.5
    assert abs(np.mean([one["bias"] for one in found])) < 0.5
    assert np.mean([one["coverage_95"] for one in found]) >= 0.9


def test_phones_that_became_chattier_are_recognised_by_those_that_did_not(calibration: Calibration) -> None:
    day = labelled(20, scale=(1.6, 1))
    deaf = replace(calibration, rate_spread=(1e-6, 1e-6))
    assert mae(calibration, day) < 0.7 * mae(deaf, day)
    assert estimate(calibration, day.heard).apart > 1


def test_a_day_on_which_all_phones_are_louder_is_within_the_interval(calibration: Calibration) -> None:
    found = [scored(calibration, labelled(seed, scale=(1.2, 1.2))) for seed in range(30, 34)]
    assert np.mean([one["coverage_95"] for one in found]) > 0.85


def test_nobody_heard_is_nobody_there(calibration: Calibration) -> None:
    day = replace(labelled(1).heard, near=np.zeros((MINUTES, 1, 4), np.int64))
    occupancy = estimate(calibration, day)
    assert (occupancy.history @ occupancy.levels)[30:].max() < 0.1


def test_a_minute_without_a_listener_is_no_minute_without_people(calibration: Calibration) -> None:
    day = labelled(4)
    dark = slice(200, 260)
    near, listened = day.heard.near.copy(), day.heard.listened.copy()
    near[dark], listened[dark] = 0, 0
    there, gone = (
        estimate(calibration, heard) for heard in (day.heard, replace(day.heard, near=near, listened=listened))
    )
    before = (gone.history @ gone.levels)[195]
    assert (gone.history @ gone.levels)[230] > before / 2
    assert _width(gone.history, 230) > _width(there.history, 230)


def _width(history: NDArray[np.float64], minute: int) -> int:
    below = history[minute].cumsum()
    return int((below < 0.975).sum() - (below < 0.025).sum())


def test_windows_that_nobody_listened_to_are_not_published(calibration: Calibration) -> None:
    heard = labelled(4).heard
    listened = heard.listened.copy()
    listened[100:110] = 0
    partly = replace(heard, listened=listened)
    found = in_windows(partly, estimate(calibration, partly), 5)
    dark = set(heard.minutes[100:110] // 5) - set(heard.minutes[:100] // 5) - set(heard.minutes[110:] // 5)
    assert dark
    assert not dark & set(found.numbers.tolist())


def test_a_sensor_added_later_changes_nothing_while_those_that_were_fitted_listen(calibration: Calibration) -> None:
    day = labelled(7)
    loud = replace(day.heard, sensors=("2",), near=3 * day.heard.near)
    np.testing.assert_array_equal(
        estimate(calibration, joined(day.heard, loud)).history, estimate(calibration, day.heard).history
    )


def test_a_sensor_added_later_stands_in_for_one_that_fell_silent(calibration: Calibration) -> None:
    random = np.random.default_rng(7)
    first = sounding(np.full(MINUTES, 12), random)
    second = replace(first, sensors=("2",))
    gone = replace(first, listened=np.zeros_like(first.listened), near=np.zeros_like(first.near))
    np.testing.assert_allclose(
        estimate(calibration, joined(gone, second)).history, estimate(calibration, first).history, atol=1e-6
    )


def test_a_sensor_that_comes_and_goes_does_not_shift_the_estimate() -> None:
    both = [replace(day, heard=joined(day.heard, replace(day.heard, sensors=("2",)))) for day in map(labelled, (1, 2))]
    calibration = fit("north", both)
    random = np.random.default_rng(7)
    level = np.full(MINUTES, 12)
    first, second = sounding(level, random), replace(sounding(level, random), sensors=("2",))
    half = second.listened.copy()
    half[: MINUTES // 2] = 0
    near = second.near.copy()
    near[: MINUTES // 2] = 0
    occupancy = estimate(calibration, joined(first, replace(second, near=near, listened=half)))
    means = occupancy.history @ occupancy.levels
    assert means[60 : MINUTES // 2].mean() == pytest.approx(means[MINUTES // 2 :].mean(), abs=1.5)


def test_a_sensor_that_listened_half_a_minute_is_expected_to_hear_half(calibration: Calibration) -> None:
    random = np.random.default_rng(8)
    heard = sounding(np.full(MINUTES, 12), random)
    halved = replace(heard, near=random.binomial(heard.near, 0.5), listened=heard.listened / 2)
    whole, half = (estimate(calibration, day) for day in (heard, halved))
    assert (half.history @ half.levels)[60:].mean() == pytest.approx(
        (whole.history @ whole.levels)[60:].mean(), rel=0.15
    )


@pytest.mark.parametrize("cut", [137, 300])
def test_the_gauge_knows_nothing_of_later_minutes_and_history_only_of_a_few(calibration: Calibration, cut: int) -> None:
    heard = labelled(5).heard
    early = Heard(heard.first_minute, heard.sensors, heard.near[:cut], heard.listened[:cut], heard.passing[:cut])
    whole, part = estimate(calibration, heard), estimate(calibration, early)
    np.testing.assert_allclose(part.live, whole.live[:cut], atol=1e-9)
    np.testing.assert_allclose(part.history[: cut - 20], whole.history[: cut - 20], atol=1e-9)


def test_probabilities_are_probabilities(calibration: Calibration) -> None:
    occupancy = estimate(calibration, labelled(6).heard)
    for shares in (occupancy.live, occupancy.history):
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert (shares >= 0).all()


def test_a_crowd_of_thousands_is_told_in_steps(calibration: Calibration) -> None:
    crowd = replace(calibration, fitted_people=2000.0, usual_people=1500.0)
    random = np.random.default_rng(9)
    heard = sounding(np.full(40, 2000), random)
    occupancy = estimate(crowd, heard)
    assert len(occupancy.levels) <= 302
    assert (occupancy.history @ occupancy.levels)[20:].mean() == pytest.approx(2000, rel=0.15)


def test_a_crowd_from_nowhere_is_taken_as_it_comes(calibration: Calibration) -> None:
    heard = labelled(6).heard
    near = heard.near.copy()
    near[:5] = 0
    near[5:10] = 5000
    near[10:] = 0
    occupancy = estimate(replace(calibration, fitted_people=800.0, usual_people=1.0), replace(heard, near=near))
    assert (occupancy.live[8] @ occupancy.levels) > 1000
    assert (occupancy.live[60] @ occupancy.levels) < 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", dict.fromkeys(COLUMNS, -1)),
        ("dispersion", dict.fromkeys(COLUMNS, 0)),
        ("evidence", dict.fromkeys(COLUMNS, 2)),
        ("usual_people", float("nan")),
        ("fitted_people", -1),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(calibration: Calibration, name: str, value: object) -> None:
    values = json.loads(calibration.to_json())
    with pytest.raises(ConfigError, match=rf"is no calibration of `footfall calibrate`: {name} cannot be"):
        from_json(json.dumps({**values, name: value}), "north.json")


def test_a_fixed_device_is_learned_where_the_room_is_known_to_be_empty() -> None:
    def with_printer(day: Labelled) -> Labelled:
        near = day.heard.near.copy()
        near[:, 0, 2:] += 1
        return replace(day, heard=replace(day.heard, near=near))

    learned = fit("north", [with_printer(labelled(seed)) for seed in (1, 2, 3)])
    assert learned.background[2:] == pytest.approx((1.0, 1.0), abs=0.15)
    assert learned.rates["1"] == pytest.approx(EXPECTED, rel=0.15)
    assert mae(learned, with_printer(labelled(11))) < 1.7


def test_a_class_that_is_hardly_heard_says_little_of_how_days_differ() -> None:
    def hushed(day: Labelled, share: float) -> Labelled:
        near = day.heard.near.copy()
        near[:, 0, 2:] = np.random.default_rng(3).binomial(near[:, 0, 2:], share)
        return replace(day, heard=replace(day.heard, near=near))

    fitted = fit("north", [hushed(labelled(1), 0.004), hushed(labelled(2), 0.0), hushed(labelled(3), 0.004)])
    assert fitted.rate_spread[1] < 0.3


def test_a_sensor_that_met_nobody_has_no_rates() -> None:
    day = labelled(1)
    silent = day.heard.listened.copy()
    silent[60:-60] = 0
    deaf = Heard(day.heard.first_minute, ("attic",), np.zeros_like(day.heard.near), silent, day.heard.passing)
    fitted = fit("north", [replace(day, heard=joined(day.heard, deaf))])
    assert list(fitted.rates) == ["1"]


def test_too_little_truth_is_refused_with_what_is_missing() -> None:
    day = labelled(1)
    with pytest.raises(ConfigError, match=r"share 65 minutes with \d+ person-minutes: a calibration needs 300"):
        fit("north", [replace(day, levels=day.levels[:65])])


def test_a_calibration_survives_its_file(calibration: Calibration) -> None:
    assert from_json(calibration.to_json(), "file") == calibration


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"method": "joint-filter@0"}', '{"method": "joint-filter@1"}'],
)
def test_what_is_no_calibration_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"north\.json: is no calibration"):
        from_json(text, "north.json")


def test_no_window_in_common_has_no_score() -> None:
    day = labelled(1)
    found = in_windows(day.heard, estimate(fit("north", [day]), day.heard), 5)
    assert scores(found, {})["mae"] is None
    assert scores(found, {})["windows"] == 0
