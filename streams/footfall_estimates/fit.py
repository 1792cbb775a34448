"""Fits a calibration: what a person sounds like in a store, from minutes whose people are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from footfall_events.errors import ConfigError
from numpy.typing import NDArray

from footfall_estimates.calibration import Calibration, identified
from footfall_estimates.minutes import CLASS_OF, CLASSES, COLUMNS, NEAR, NEAR_RANDOM, Heard, hearing
from footfall_estimates.truth import Level, at_minutes, windows

LEAST_PERSON_MINUTES = 300.0
"""Fewer make no calibration: an hour with five people."""
_LEAST_SHARE = 0.5
"""A minute of which all sensors together listened to less tells nothing of its people."""
RATE_SPREAD = (0.30, 0.15)
"""How much a day's rate differs from another's, by class, before anything is known of the store."""
BORROWED_SPREAD = 0.4
"""How much the rates of similar stores may differ beside; a guess, no store was measured."""
_GUESS_DAYS = 4
"""That guess, and what a sensor hears with nobody inside, count as so many days, and as half an hour of silence."""
_SILENT_MINUTES = 60
_BLOCK_MIN = 10
"""About how long one phone's chatter or silence lasts."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """One day of one store, and the people who were there."""

    name: str
    heard: Heard
    levels: Sequence[Level]


@dataclass(frozen=True)
class _Known:
    """A day's minutes, listened to and with known people: `people` (minutes,), `near` and `listened` as in `Heard`."""

    sensors: tuple[str, ...]
    people: Floats
    near: NDArray[np.int64]
    listened: Floats

    def of_sensor(self, sensor_id: str, number: int) -> tuple[float, float, float]:
        """While somebody is inside: what a column counted, minutes listened, and person-minutes listened."""
        if sensor_id not in self.sensors:
            return 0.0, 0.0, 0.0
        column, some = self.sensors.index(sensor_id), self.people > 0
        listened = self.listened[some, column]
        near = float(self.near[some, column, number].sum())
        return near, float(listened.sum()), float(self.people[some] @ listened)


def fit(store_id: str, days: Sequence[Labelled]) -> Calibration:
    """The calibration of a store.

    Raises ConfigError if the truth is too little, with how much is missing, or if nothing was heard of the people.
    """
    known = [_known(day) for day in days]
    minutes = sum(len(day.people) for day in known)
    person_minutes = sum(float(day.people.sum()) for day in known)
    if person_minutes < LEAST_PERSON_MINUTES:
        raise ConfigError(
            [
                f"truth and captures share {minutes} minutes with {person_minutes:.0f} person-minutes: a calibration "
                f"needs {LEAST_PERSON_MINUTES:.0f}, like an hour with five people"
            ]
        )
    _refuse_silence(known)
    columns = [_Column(known, number) for number in range(len(COLUMNS))]
    moves, moves_when_empty, move_people = _moves(days)
    values: dict[str, Any] = {
        "rates": {sensor: tuple(one.rates[sensor] for one in columns) for sensor in columns[0].rates},
        "background": tuple(one.background for one in columns),
        "uncounted": tuple(one.uncounted for one in columns),
        "dispersion": tuple(one.dispersion for one in columns),
        "evidence": tuple(one.evidence for one in columns),
        "rate_spread": tuple(_spread_of(kind, columns) for kind in range(len(CLASSES))),
        "moves": moves,
        "moves_when_empty": moves_when_empty,
        "move_people": move_people,
        "usual_people": round(person_minutes / minutes, 3),
        "fitted_people": round(max(float(day.people.max(initial=0)) for day in known), 3),
        "fitted_sensors": float(max(1, _together(day.listened for day in known))),
        "hearing": round(_hearing([day.heard for day in days]), 3),
    }
    fitted_on = {"days": [day.name for day in days], "minutes": minutes, "person_minutes": round(person_minutes)}
    return identified(Calibration("", store_id, fitted_on=fitted_on, **values))


def borrow(store_id: str, calibration: Calibration, days: Sequence[Heard] = ()) -> Calibration:
    """Another store's calibration for this one: all its sensors have the same rates, and intervals are wider.

    A person is heard by as many sensors as overlap there: that is taken from the store's own `days`, or, without any,
    to be the same share as in the other store. Raises ConfigError for the store's own calibration, also if it comes
    back by way of another.
    """
    origin = calibration.borrowed_from or calibration.store_id
    if store_id in (origin, calibration.store_id):
        raise ConfigError(
            [f"a calibration of store {store_id!r} cannot be borrowed for itself: borrow another store's"]
        )
    spread = tuple(round(math.hypot(value, BORROWED_SPREAD), 4) for value in calibration.rate_spread)
    sensors = _together(day.listened for day in days)
    heard_by, here = calibration.hearing, _hearing(days)
    share = (here / sensors) / (heard_by / calibration.fitted_sensors) if sensors else 1.0
    rates = {f"any of {origin}": tuple(round(rate * share, 6) for rate in calibration.rates_of(""))}
    found = replace(calibration, store_id=store_id, borrowed_from=origin, rates=rates, rate_spread=spread)
    if sensors:
        found = replace(found, hearing=round(here, 3), fitted_sensors=round(max(1.0, sensors * heard_by / here), 3))
    return identified(found)


def _known(day: Labelled) -> _Known:
    of_minute = windows(day.levels, 60)
    minutes = day.heard.minutes.tolist()
    together = day.heard.listened.sum(axis=1)
    places = [place for place, minute in enumerate(minutes) if minute in of_minute and together[place] >= _LEAST_SHARE]
    people = np.array([of_minute[minutes[place]] for place in places], dtype=float)
    return _Known(day.heard.sensors, people, day.heard.near[places], day.heard.listened[places])


def _refuse_silence(known: Sequence[_Known]) -> None:
    if any(day.near[day.people > 0].any() for day in known):
        return
    sensors = ", ".join(sorted({sensor for day in known for sensor in day.sensors}))
    minutes = sum(int((day.people > 0).sum()) for day in known)
    raise ConfigError(
        [
            f"sensors {sensors} heard no burst at or above -{NEAR} dBm in {minutes} minutes with people inside: "
            "are they of the same place as the truth, and near enough, and does --ignore-oui leave phones in?"
        ]
    )


def _together(listened: Iterable[Floats]) -> int:
    """The most sensors that listened at a time."""
    return max((math.ceil(float(of_day.sum(axis=1).max(initial=0.0))) for of_day in listened), default=0)


def _hearing(days: Sequence[Heard]) -> float:
    """How many sensors hear nearby what any of them hears nearby."""
    return hearing((day.near[:, :, NEAR_RANDOM], day.listened) for day in days)


class _Column:
    """One column: its rate by sensor, how much that differs between days, and how counts scatter about it."""

    def __init__(self, known: Sequence[_Known], number: int) -> None:
        self._number = number
        self.background = self._background(known)
        self.uncounted = self._uncounted(known)
        guess = RATE_SPREAD[CLASS_OF[number]]
        sums: dict[str, list[tuple[float, float, float]]] = {}
        for sensor_id in sorted({sensor for day in known for sensor in day.sensors}):
            of_days = [day.of_sensor(sensor_id, number) for day in known]
            met = [of_day for of_day in of_days if of_day[2]]  # days on which it listened to somebody
            if met:
                sums[sensor_id] = met
        # How counts scatter about any rate, then how far each day's rate can be trusted, then the rate.
        self.rates = {sensor_id: self._rate(*np.sum(of_days, axis=0)) for sensor_id, of_days in sums.items()}
        self.dispersion, self.evidence = self._scatter(known)
        squares, degrees = _GUESS_DAYS * guess**2, float(_GUESS_DAYS)
        for sensor_id, of_days in sums.items():
            logs = np.array([math.log(self._rate(*of_day)) for of_day in of_days])
            doubts = np.array([self._doubt(*of_day) for of_day in of_days])
            trust = 1 / (guess**2 + doubts)
            mean = float(logs @ trust / trust.sum())
            self.rates[sensor_id] = round(math.exp(mean), 6)
            # A day counts as far as its own doubt is small beside what days differ by.
            shares = guess**2 * trust
            squares += float(shares @ np.maximum((logs - mean) ** 2 - doubts, 0.0))
            degrees += max(float(shares.sum()) - 1, 0.0)
        self.rate_spread = round(math.sqrt(squares / degrees), 4)

    def _background(self, known: Sequence[_Known]) -> float:
        """What one sensor counts in a minute with nobody inside: fixed devices, and whoever passes by."""
        silent = [(day.near[day.people == 0], day.listened[day.people == 0]) for day in known]
        counted = sum(float(near[:, :, self._number].sum()) for near, _ in silent)
        minutes = sum(float(listened.sum()) for _, listened in silent)
        return round((counted + 0.1) / (minutes + _SILENT_MINUTES), 6)

    def _uncounted(self, known: Sequence[_Known]) -> float:
        """What one sensor counts beside while somebody is inside, however few: where the line over people begins.

        As far as that is certain, but for one standard error: ten minutes count as one, for phones speak in several.
        """
        live = np.concatenate([day.listened.sum(axis=1) for day in known])
        people = np.concatenate([day.people for day in known])
        more = np.concatenate([day.near[:, :, self._number].sum(axis=1) for day in known]) - self.background * live
        some = people > 0
        # Counts scatter as their mean: each minute weighs as little as many people are inside.
        root = np.sqrt(live * people)[some]
        columns = np.column_stack([live, live * people])[some] / root[:, None]
        line, squares, rank, _ = np.linalg.lstsq(columns, more[some] / root)
        if rank < len(line) or len(root) <= _BLOCK_MIN:
            return 0.0
        variance = float(squares[0]) / (len(root) / _BLOCK_MIN) * float(np.linalg.inv(columns.T @ columns)[0, 0])
        return round(max(float(line[0]) - math.sqrt(variance), 0.0), 6)

    def _rate(self, near: float, minutes: float, person_minutes: float) -> float:
        return (self._of_people(near, minutes) + 0.5) / (person_minutes + 0.5)

    def _of_people(self, near: float, minutes: float) -> float:
        return max(near - (self.background + self.uncounted) * minutes, 0.0)

    def _doubt(self, near: float, minutes: float, _person_minutes: float) -> float:
        """Variance of the logarithm of a day's rate: few or clumped counts tell it badly."""
        heard = self._of_people(near, minutes) + 0.5
        return (near + 0.5) * (1 + self.dispersion) / self.evidence / heard**2

    def _scatter(self, known: Sequence[_Known]) -> tuple[float, float]:
        """Variance beyond Poisson's as a share of the mean, and what share of a minute's evidence is news.

        One phone speaks in several minutes: sums over ten scatter more than ten times as much as minutes do.
        """
        squares = means = of_blocks = 0.0
        for day in known:
            rates = np.array([self.rates.get(sensor, 0.0) for sensor in day.sensors])
            counted = day.near[:, :, self._number].sum(axis=1)
            beside = self.background + self.uncounted * (day.people > 0)
            mean = beside * day.listened.sum(axis=1) + day.people * (day.listened @ rates)
            if not day.people.any() or not mean.any():
                continue
            mean *= counted.sum() / mean.sum()  # the day's own rate is not scatter
            whole = len(mean) // _BLOCK_MIN * _BLOCK_MIN
            off = (counted - mean)[:whole]
            squares += float(off @ off)
            means += float(mean[:whole].sum())
            of_blocks += float((off.reshape(-1, _BLOCK_MIN).sum(axis=1) ** 2).sum())
        if not means or not of_blocks:
            return 1.0, 0.2
        return round(max(0.05, squares / means - 1), 4), round(min(1.0, squares / of_blocks), 4)


def _spread_of(kind: int, columns: Sequence[_Column]) -> float:
    """Mean over the columns of an address class."""
    found = [column.rate_spread for column, of in zip(columns, CLASS_OF, strict=True) if of == kind]
    return round(sum(found) / len(found), 4)


def _moves(days: Sequence[Labelled]) -> tuple[float, float, float]:
    """Share of minutes with a change, the same of minutes that begin with nobody, and the mean change in people."""
    minutes = changes = people = empty = filled = 0.0
    for day in days:
        level = at_minutes(day.levels, day.heard.minutes)
        change = np.abs(np.diff(level))
        change, was_empty = change[~np.isnan(change)], level[:-1][~np.isnan(change)] == 0
        minutes += len(change)
        changes += float((change > 0).sum())
        people += float(change.sum())
        empty += float(was_empty.sum())
        filled += float((change[was_empty] > 0).sum())
    shares = (changes + 1) / (minutes + 10), (filled + 0.5) / (empty + 60), (people + 1) / (changes + 1)
    return round(shares[0], 5), round(shares[1], 5), round(shares[2], 4)
