"""How many people are inside, minute by minute, from how much is heard: a filter over people and the day's rates.

The state is the number of people and how much more *random* than *stable* addresses are heard today than the
calibration expects: phones change from season to season, and the two classes seldom change alike. People come and go
as a random walk with geometric steps. What is heard nearby in a minute is a negative binomial count whose mean grows
with the people; its logarithm is weighted down (`evidence`), as one phone speaks in several minutes.

That both classes are louder than usual looks the same as more people: it is not inferred, it widens the interval.
No address is compared with any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from footfall_estimates.calibration import Calibration
from footfall_estimates.minutes import CLASS_OF, CLASSES, COLUMNS, Heard

Floats = NDArray[np.float64]

LOOK_AHEAD_MIN = 10
"""Published history is restated as the minutes after it arrive: this far at least, and less than twice as far."""
_LEVELS = 300
"""At most so many numbers of people are told apart."""
_ANYTHING = 1e-9
"""Chance of what the calibration rules out, like a crowd from nowhere: the filter goes on from it."""
_DEVIATIONS = np.linspace(-2.0, 2.0, 9)
"""What is normally distributed is told apart at these values, in standard deviations."""


@dataclass(frozen=True)
class Occupancy:
    """Probabilities of each number of people, `levels`, by minute of a `Heard`; shape (minutes, levels).

    `live` rests on the minutes up to each, `history` on some later ones too. `rates_today` is what the last minute
    knows of each class's rate, compared with the calibration.
    """

    levels: Floats
    live: Floats
    history: Floats
    rates_today: tuple[float, ...]


class Model:
    """A calibration made ready for computing: the states, how they follow each other, what each sounds like."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        step = max(1, -(-calibration.most_people // _LEVELS))
        self.levels: Floats = np.arange(0, calibration.most_people + step, step, dtype=float)
        self.moves = _moves(calibration, self.levels)
        weight = np.exp(-(_DEVIATIONS**2) / 2)
        variances = np.asarray(calibration.rate_spread) ** 2
        # What a difference between the classes says of each: the class that varies more has moved more.
        apart = _DEVIATIONS * math.sqrt(variances.sum())
        shares = variances * [1, -1] / variances.sum()
        self.rates: Floats = np.exp(apart[:, None] * shares)
        people = np.exp(-self.levels / max(calibration.usual_people, 1.0))
        self.prior = _shares(np.outer(weight, people + _ANYTHING * people.sum()))
        self.alike = _alike(self.levels, math.sqrt(variances.prod() / variances.sum()))

    def likelihood(self, heard: Heard) -> Floats:
        """How well each state explains each minute, the best one 1; shape (minutes, rates, levels)."""
        rates = np.array([self._calibration.rates_of(sensor) for sensor in heard.sensors])
        live = heard.listened.sum(axis=1)
        # Sensors of one store hear the same phones: more of them are no more evidence than those it was fitted on.
        weight = np.minimum(1.0, self._calibration.fitted_sensors / np.maximum(np.ceil(live), 1))
        logs = np.zeros((len(heard), len(self.rates), len(self.levels)))
        for number in range(len(COLUMNS)):
            counted = heard.near[:, :, number].sum(axis=1)
            # Minutes repeat each other: each combination is computed once.
            nobody = np.round(live * self._calibration.background[number], 4)
            seen = np.column_stack([counted, np.round(heard.listened @ rates[:, number], 4), nobody])
            known, places = np.unique(seen, axis=0, return_inverse=True)
            logs += self._explained(known, number)[places.ravel()] * weight[:, None, None]
        found: Floats = np.exp(logs - logs.max(axis=(1, 2), keepdims=True))
        return found

    def _explained(self, seen: Floats, number: int) -> Floats:
        """Weighted log likelihood of rows of (count, rate, background) of one column; shape (rows, rates, levels)."""
        counts, per_person, nobody = seen.T[:, :, None, None]
        means = nobody + per_person * self.rates[:, CLASS_OF[number], None] * self.levels
        logs = _negative_binomial(counts.ravel(), means, self._calibration.dispersion[number])
        return logs * (self._calibration.evidence[number] * len(CLASSES) / len(COLUMNS))


def estimate(calibration: Calibration, heard: Heard, look_ahead_min: int = LOOK_AHEAD_MIN) -> Occupancy:
    """Occupancy of one stretch of minutes without a gap; each day is a stretch of its own."""
    model = Model(calibration)
    likelihood = model.likelihood(heard)
    forward = np.zeros_like(likelihood)
    state = model.prior
    for minute, explained in enumerate(likelihood):
        state = _shares((state @ model.moves if minute else state) * explained)
        forward[minute] = state
    rates_today = tuple((state.sum(axis=1) @ model.rates).tolist())
    history = np.zeros((len(heard), len(model.levels)))
    for begin in range(0, len(heard), look_ahead_min):
        history[begin : begin + look_ahead_min] = _looking_back(model, forward, likelihood, begin, look_ahead_min)
    return Occupancy(model.levels, forward.sum(axis=1) @ model.alike, history @ model.alike, rates_today)


def _looking_back(model: Model, forward: Floats, likelihood: Floats, begin: int, length: int) -> Floats:
    """History of `length` minutes from `begin`, as it is known after as many more; shape (minutes, levels)."""
    found = []
    later = np.ones_like(model.prior)
    for minute in range(min(begin + 2 * length, len(forward)) - 1, begin - 1, -1):
        if minute < begin + length:
            found.append(_shares((forward[minute] * later).sum(axis=0)))
        later = (later * likelihood[minute]) @ model.moves.T
        later /= later.max()
    return np.array(found[::-1])


def _shares(weights: Floats) -> Floats:
    shares: Floats = weights / weights.sum()
    return shares


def _moves(calibration: Calibration, levels: Floats) -> Floats:
    """Chance of each number of people a minute later, by the number now; shape (levels, levels)."""
    away = np.abs(levels[:, None] - levels[None, :])
    longer = 1 - 1 / max(calibration.move_people, 1.01)
    steps = np.where(away > 0, longer ** np.maximum(away - 1, 0), 0.0)
    steps /= steps.sum(axis=1, keepdims=True)
    # Somebody is as good as always about to move where many are, and an empty room stays empty for long.
    share = calibration.moves - (calibration.moves - calibration.moves_when_empty) * np.exp(-levels / 2)
    found: Floats = steps * share[:, None] + np.diag(1 - share) + _ANYTHING
    found /= found.sum(axis=1, keepdims=True)
    return found


def _alike(levels: Floats, spread: float) -> Floats:
    """Where each level goes if all rates are off by one unknown factor; shape (levels, levels), means are kept."""
    factors = np.exp(_DEVIATIONS * spread)
    weight = _shares(np.exp(-(_DEVIATIONS**2) / 2))
    factors /= weight @ factors
    found = np.zeros((len(levels), len(levels)))
    step = levels[1] - levels[0]
    rows = np.arange(len(levels))
    for factor, share in zip(factors, weight, strict=True):
        places = np.minimum(levels * factor / step, len(levels) - 1)
        below = np.minimum(places.astype(np.int64), len(levels) - 2)
        np.add.at(found, (rows, below), share * (below + 1 - places))
        np.add.at(found, (rows, below + 1), share * (places - below))
    return found


def _negative_binomial(counts: Floats, means: Floats, dispersion: float) -> Floats:
    """Log likelihood of each count for its row of means, but for a constant; variance = mean * (1 + dispersion)."""
    size = np.maximum(means, 1e-6) / dispersion
    logs: Floats = -size * np.log1p(dispersion)
    for step in range(int(counts.max(initial=0))):
        more = counts > step
        logs[more] += np.log(size[more] + step)
    return logs
