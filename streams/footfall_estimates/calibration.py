"""What is known of a store before the day begins: how much is heard per person, how that scatters, how people move."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from footfall_events.errors import ConfigError

from footfall_estimates.minutes import CLASSES, COLUMNS

METHOD = "joint-filter@2"
"""Name and version of the estimator that a calibration is for; see occupancy.py."""

PerColumn = tuple[float, ...]
"""One value for each of `minutes.COLUMNS`."""


@dataclass(frozen=True)
class Calibration:
    """Everything the filter needs, as it is stored; rates count per minute listened.

    `rates` are per person, by sensor and column; `background` is what a sensor hears with nobody inside, `uncounted`
    what beside while somebody is, of phones that are not the people's, like those of staff whom the truth leaves out;
    `dispersion` is the variance beyond Poisson's as a share of the mean; `evidence` in (0, 1] is how much a minute
    counts, as the same phones speak in its neighbours. `rate_spread` is the standard deviation of the logarithm of a
    day's rate, by address class. `moves` and `moves_when_empty` are the shares of minutes in which the number of people
    changes, `move_people` the mean change. `usual_people` and `fitted_people` are the mean of the truth and its most.
    `fitted_sensors` listened at a time while the truth was taken, and `hearing` of them heard what any of them heard.
    """

    calibration_id: str
    store_id: str
    rates: Mapping[str, PerColumn]
    background: PerColumn
    uncounted: PerColumn
    dispersion: PerColumn
    evidence: PerColumn
    rate_spread: tuple[float, ...]
    moves: float
    moves_when_empty: float
    move_people: float
    usual_people: float
    fitted_people: float
    fitted_sensors: float
    hearing: float
    fitted_on: Mapping[str, Any]
    borrowed_from: str | None = None
    method: str = METHOD

    @property
    def most_people(self) -> int:
        """A bound on the people inside, far above any in the truth."""
        return math.ceil(2.5 * self.fitted_people) + 10

    def rates_of(self, sensor_id: str) -> PerColumn:
        """A sensor's rates; one that the calibration does not know is taken for the mean of those it knows."""
        if sensor_id in self.rates:
            return self.rates[sensor_id]
        return tuple(sum(rates) / len(self.rates) for rates in zip(*self.rates.values(), strict=True))

    def impossible(self) -> list[str]:
        """Names of the parameters that are out of their range, or no numbers."""
        limits: dict[str, tuple[Sequence[float], float, float]] = {
            "rates": ([rate for rates in self.rates.values() for rate in rates], 0, math.inf),
            "background": (self.background, 0, math.inf),
            "uncounted": (self.uncounted, 0, math.inf),
            "dispersion": (self.dispersion, 0.01, math.inf),
            "evidence": (self.evidence, 0, 1),
            "rate_spread": (self.rate_spread, 0.001, 5),
            "moves": ([self.moves], 0, 1),
            "moves_when_empty": ([self.moves_when_empty], 0, 1),
            "move_people": ([self.move_people], 0, math.inf),
            "usual_people": ([self.usual_people], 0, math.inf),
            "fitted_people": ([self.fitted_people], 0, 100_000),
            "fitted_sensors": ([self.fitted_sensors], 1, math.inf),
            "hearing": ([self.hearing], 1, math.inf),
        }
        return [
            name
            for name, (values, low, high) in limits.items()
            if not all(low <= value <= high and math.isfinite(value) for value in values)
        ]

    def to_json(self) -> str:
        """One JSON object, with the names of the columns."""
        values = asdict(self)
        values["rates"] = {sensor: _named(rates) for sensor, rates in self.rates.items()}
        for name in _PER_COLUMN:
            values[name] = _named(values[name])
        return json.dumps({**values, "rate_spread": dict(zip(CLASSES, self.rate_spread, strict=True))}, indent=1)

    def fitted_on_json(self) -> str:
        """What it was fitted on, one JSON object."""
        return json.dumps(dict(self.fitted_on))


_PER_COLUMN = ("background", "uncounted", "dispersion", "evidence")


def identified(calibration: Calibration) -> Calibration:
    """The calibration with the id that fits everything else in it."""
    text = replace(calibration, calibration_id="").to_json()
    return replace(calibration, calibration_id=hashlib.blake2b(text.encode(), digest_size=6).hexdigest())


def from_json(text: str, place: str) -> Calibration:
    """The calibration in `text`; raises ConfigError, naming `place`, for anything else."""
    try:
        values = json.loads(text)
        if values.get("method") != METHOD:
            raise ValueError(f"method {values.get('method')!r} is not {METHOD!r}: calibrate again with this release")
        made = Calibration(**{name: _FORMS[name](value) for name, value in values.items()})
        if not made.rates:
            raise ValueError("it has no sensor")
        if impossible := made.impossible():
            raise ValueError(f"{', '.join(impossible)} cannot be")
        if identified(made) != made:
            raise ValueError("its id does not fit its parameters: somebody changed them, calibrate again")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "it lacks something, or holds it in another form"
        raise ConfigError([f"{place}: is no calibration of `footfall calibrate`: {why}"]) from error
    return made


def _named(values: PerColumn) -> dict[str, float]:
    return dict(zip(COLUMNS, values, strict=True))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> float:
    # A bool is an int, and a number of 400 digits has no float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _columns(values: Mapping[str, object]) -> PerColumn:
    return tuple(_number(values[column]) for column in COLUMNS)


def _fitted_on(values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values["days"], list):
        raise TypeError
    sums = {name: _whole(values[name]) for name in ("minutes", "person_minutes")}
    if min(sums.values()) < 0:
        raise ValueError("fitted_on cannot be")
    return {"days": [_text(day) for day in values["days"]], **sums}


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "calibration_id": _text,
    "store_id": _text,
    "rates": lambda rates: {sensor: _columns(values) for sensor, values in rates.items()},
    **dict.fromkeys(_PER_COLUMN, _columns),
    "rate_spread": lambda spread: tuple(_number(spread[name]) for name in CLASSES),
    **dict.fromkeys(("moves", "moves_when_empty", "move_people", "usual_people"), _number),
    **dict.fromkeys(("fitted_people", "fitted_sensors", "hearing"), _number),
    "fitted_on": _fitted_on,
    "borrowed_from": lambda origin: None if origin is None else _text(origin),
    "method": _text,
}
"""Of each parameter, what makes it out of JSON, or fails."""
