"""Business days of a store: local dates that turn at the cut-over hour, right across daylight saving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_EPOCH = date(1970, 1, 1)


def local_ms(day: date, at: time, zone: ZoneInfo) -> int:
    """Epoch ms of a local wall time; one that daylight saving skips is the instant it would have been.

    Of a time that occurs twice the first is meant (PEP 495, fold=0).
    """
    return int(datetime.combine(day, at, zone).timestamp()) * 1000


def day_number(day: date) -> int:
    """Days since 1970-01-01, as Arrow's date32 has it."""
    return (day - _EPOCH).days


def date_of(number: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=number)


@dataclass(frozen=True)
class BusinessDays:
    """Business date of any instant: the date whose cut-over was the last one at or before it."""

    zone: ZoneInfo
    cutover: time

    def starts_at_ms(self, number: int) -> int:
        """Epoch ms at which business day `number` (days since 1970) begins."""
        return local_ms(date_of(number), self.cutover, self.zone)

    def number_at(self, instant_ms: int) -> int:
        """Business day (days since 1970) of one instant."""
        local = datetime.fromtimestamp(instant_ms // 1000, self.zone)
        guess = day_number(local.date())
        while self.starts_at_ms(guess) > instant_ms:
            guess -= 1
        while self.starts_at_ms(guess + 1) <= instant_ms:
            guess += 1
        return guess

    def numbers_at(self, instants_ms: NDArray[np.int64]) -> NDArray[np.int32]:
        """The same for a column; cost grows with the days it spans, not with its rows."""
        if not len(instants_ms):
            return np.empty(0, np.int32)
        first, last = self.number_at(int(instants_ms.min())), self.number_at(int(instants_ms.max()))
        starts = np.array([self.starts_at_ms(day) for day in range(first, last + 1)], np.int64)
        return (first + np.searchsorted(starts, instants_ms, "right") - 1).astype(np.int32)
