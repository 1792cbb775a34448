"""How many people are inside, minute by minute, from how much is heard: a filter over people and the day's rates.

The state is the number of people and how much more *random* than *stable* addresses are heard today than the
calibration expects: phones change from season to season, and the two classes seldom change alike. People come and go
as a random walk with geometric steps. What is heard nearby in a minute is a negative binomial count whose mean grows
with the people; its logarithm is weighted down (`evidence`), as one phone speaks in several minutes.

That both classes are louder than usual looks the same as more people: it is not inferred, it widens the interval.
Sensors that were not there when the calibration was fitted count only while none of those listens that were.
No address is compared with any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

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

    `live` rests on the minutes up to each, `history` on some later ones too. `apart` is how many standard deviations
    the classes' rates have moved apart today, from -2 (stable addresses are the louder ones) to 2.
    """

    levels: Floats
    live: Floats
    history: Floats
    apart: float


class Model:
    """A calibration made ready for computing: the states, how they follow each other, what each sounds like."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
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
        self.spread_alike = math.sqrt(variances.prod() / variances.sum())
        self.alike = _alike(self.levels, self.spread_alike)

    def likelihood(self, heard: Heard) -> Floats:
        """How well each state explains each minute, the best one 1; shape (minutes, rates, levels)."""
        rates = np.array([self.calibration.rates_of(sensor) for sensor in heard.sensors]).reshape(-1, len(COLUMNS))
        listened = heard.listened * _heeded(self.calibration, heard)
        live = listened.sum(axis=1)
        # Sensors of one store hear the same phones: more of them are no more evidence than those it was fitted on.
        weight = np.minimum(1.0, self.calibration.fitted_sensors / np.maximum(np.ceil(live), 1))
        logs = np.zeros((len(heard), len(self.rates), len(self.levels)))
        for number in range(len(COLUMNS)):
            counted = (heard.near[:, :, number] * (listened > 0)).sum(axis=1)
            # Minutes repeat each other: each combination is computed once.
            seen = np.column_stack([counted, np.round(listened @ rates[:, number], 4), np.round(live, 4)])
            known, places = np.unique(seen, axis=0, return_inverse=True)
            logs += self._explained(known, number)[places.ravel()] * weight[:, None, None]
        found: Floats = np.exp(logs - logs.max(axis=(1, 2), keepdims=True))
        return found

    def _explained(self, seen: Floats, number: int) -> Floats:
        """Weighted log likelihood of one column's rows of (count, rate, sensors); shape (rows, rates, levels)."""
        counts, per_person, live = seen.T[:, :, None, None]
        known = self.calibration
        beside = live * (known.background[number] + known.uncounted[number] * (self.levels > 0))
        means = beside + per_person * self.rates[:, CLASS_OF[number], None] * self.levels
        logs = _negative_binomial(counts.ravel(), means, known.dispersion[number])
        return logs * (known.evidence[number] * len(CLASSES) / len(COLUMNS))


class Filtered:
    """One stretch of minutes without a gap, each with what is known of its state from the minutes up to it."""

    def __init__(self, calibration: Calibration, heard: Heard) -> None:
        self.model = Model(calibration)
        self._likelihood = self.model.likelihood(heard)
        self._forward = np.zeros_like(self._likelihood)
        state = self.model.prior
        for minute, explained in enumerate(self._likelihood):
            state = _shares((state @ self.model.moves if minute else state) * explained)
            self._forward[minute] = state
        self._last = state

    def occupancy(self) -> Occupancy:
        """What is published of each minute."""
        model, minutes = self.model, len(self._forward)
        history = np.zeros((minutes, len(model.levels)))
        for begin in range(0, minutes, LOOK_AHEAD_MIN):
            history[begin : begin + LOOK_AHEAD_MIN] = self._looking_back(begin)
        apart = float(self._last.sum(axis=1) @ _DEVIATIONS)
        return Occupancy(model.levels, self._forward.sum(axis=1) @ model.alike, history @ model.alike, apart)

    def paths(self, count: int) -> Floats:
        """As many days as they may have been, drawn from what all minutes together leave open; shape (count, minutes).

        The same minutes give the same draws. How loud all phones are is evenly spread over them.
        """
        draws = np.random.default_rng(0)
        minutes, levels = len(self._forward), len(self.model.levels)
        found = np.zeros((minutes, count), np.int64)
        if not minutes:
            return np.zeros((count, 0))
        of_rates, people = np.divmod(_drawn(draws, np.tile(self._last.ravel(), (count, 1))), levels)
        moves = self.model.moves.T.copy()
        for minute in range(minutes - 1, -1, -1):
            if minute < minutes - 1:
                people = _drawn(draws, self._forward[minute][of_rates] * moves[people])
            found[minute] = people
        normal = NormalDist()
        even = np.array([normal.inv_cdf((place + 0.5) / count) for place in range(count)])
        alike = np.exp(draws.permutation(even) * self.model.spread_alike)
        days: Floats = self.model.levels[found].T * (alike / alike.mean())[:, None]
        return days

    def _looking_back(self, begin: int) -> Floats:
        """History of LOOK_AHEAD_MIN minutes from `begin`, as known after as many more; shape (minutes, levels)."""
        found = []
        end = begin + LOOK_AHEAD_MIN
        later = np.ones_like(self.model.prior)
        for minute in range(min(end + LOOK_AHEAD_MIN, len(self._forward)) - 1, begin - 1, -1):
            if minute < end:
                found.append(_shares((self._forward[minute] * later).sum(axis=0)))
            later = (later * self._likelihood[minute]) @ self.model.moves.T
            later /= later.max()
        return np.array(found[::-1])


def estimate(calibration: Calibration, heard: Heard) -> Occupancy:
    """Occupancy of one stretch of minutes without a gap; each day is a stretch of its own."""
    return Filtered(calibration, heard).occupancy()


def _heeded(calibration: Calibration, heard: Heard) -> NDArray[np.bool_]:
    """Which sensors count in which minutes: those that were fitted, others while none of those listens."""
    known = np.array([sensor in calibration.rates for sensor in heard.sensors], dtype=bool)
    fitted: NDArray[np.bool_] = np.any(heard.listened[:, known] > 0, axis=1, keepdims=True)
    return known | ~fitted


def _drawn(draws: np.random.Generator, weights: Floats) -> NDArray[np.int64]:
    """A place in each row, as likely as its weight."""
    sums = weights.cumsum(axis=1)
    found: NDArray[np.int64] = (sums < draws.random(len(sums))[:, None] * sums[:, -1:]).sum(axis=1)
    return found


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
