"""What a calibration may be read from, and that everything else is refused instead of being believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from footfall_estimates.calibration import Calibration, from_json, identified
from footfall_estimates.fit import Labelled, borrow, fit
from footfall_estimates.minutes import Heard
from footfall_estimates.occupancy import estimate
from footfall_estimates.truth import Level
from footfall_events.errors import ConfigError

FIRST = 28_000_000
PEOPLE = np.array([0] * 60 + [6] * 90 + [9] * 60 + [0] * 30)


def a_day(sensors: int = 1) -> Labelled:
    """Four hours of as many sensors."""
    near = np.random.default_rng(1).poisson(0.01 + PEOPLE[:, None, None] * 0.2, (len(PEOPLE), sensors, 4))
    names = tuple(str(number + 1) for number in range(sensors))
    heard = Heard(FIRST, names, near, np.ones((len(PEOPLE), sensors)), near[:, :, 0])
    levels = [Level(60 * (FIRST + m), 60 * (FIRST + m + 1), n) for m, n in enumerate(PEOPLE.tolist())]
    return Labelled("a day", heard, levels)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit("north", [a_day()])


def signed(values: dict[str, Any]) -> str:
    """The text with the id that fits it, as somebody who edits a file on purpose would have it."""
    text = json.dumps({**values, "calibration_id": ""}, indent=1)
    return json.dumps({**values, "calibration_id": blake2b(text.encode(), digest_size=6).hexdigest()}, indent=1)


def leaves(values: Any, *place: str | int) -> Iterator[tuple[str | int, ...]]:
    """The place of every value, those that hold others too."""
    if place:
        yield place
    if isinstance(values, dict | list):
        for name, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from leaves(value, *place, name)


def with_value(values: Any, place: tuple[str | int, ...], value: Any) -> Any:
    made = json.loads(json.dumps(values))
    inner = made
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return made


ODD = [None, "text", "", [], [1], {}, {"a": 1}, True, 0, -1, 1.5, float("nan"), float("inf"), 1e308, 10**400]


@pytest.mark.parametrize("of", ["north", "south"])
@pytest.mark.parametrize("is_signed", [True, False])
def test_a_file_with_any_value_changed_is_a_calibration_or_refused(
    calibration: Calibration, of: str, is_signed: bool
) -> None:
    values = json.loads((calibration if of == "north" else borrow(of, calibration)).to_json())
    taken = 0
    refusals: list[str] = []
    for place in leaves(values):
        for odd in ODD:
            changed = with_value(values, place, odd)
            if changed == values:
                continue
            try:
                made = from_json(signed(changed) if is_signed else json.dumps(changed), "north.json")
            except ConfigError as refusal:
                refusals += refusal.problems
            else:
                taken += 1
                assert from_json(made.to_json(), "again") == made
                assert identified(made) == made
                assert made.impossible() == []
                assert all(isinstance(text, str) for text in (made.store_id, made.calibration_id, made.method))
                assert {"days", "minutes", "person_minutes"} == set(made.fitted_on)
    assert all(said.startswith("north.json: is no calibration of `footfall calibrate`: ") for said in refusals)
    # Not one passes whose id was left alone, but null where null was.
    assert (taken > 20) if is_signed else (taken <= 1)


@pytest.mark.parametrize("text", ["[" * 100_000, "1", "null", '"text"', "9" * 5000, '{"method": ["joint-filter@1"]}'])
def test_text_that_is_no_object_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"north\.json: is no calibration"):
        from_json(text, "north.json")


def test_edited_parameters_are_refused(calibration: Calibration) -> None:
    values = json.loads(calibration.to_json())
    values["rates"]["1"]["random_addresses_65"] *= 2
    with pytest.raises(ConfigError, match="its id does not fit its parameters: somebody changed them, calibrate again"):
        from_json(json.dumps(values), "north.json")
    assert from_json(signed(values), "north.json").rates["1"][0] == 2 * calibration.rates["1"][0]


def test_a_file_may_be_laid_out_anew(calibration: Calibration) -> None:
    again = json.dumps(json.loads(calibration.to_json()), separators=(",", ":"))
    assert from_json(again, "north.json") == calibration
    assert len(estimate(from_json(again, "north.json"), a_day().heard).live) == len(PEOPLE)
