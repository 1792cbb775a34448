"""What a day of one store comes to: hours of customers inside, and whether its calibration still fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall_estimates.evaluation import TAIL
from footfall_estimates.minutes import Heard, hearing
from footfall_estimates.occupancy import Filtered, Occupancy

_PATHS = 200


@dataclass(frozen=True)
class DayTotal:
    """`visitor_h` are the hours that people were inside in all, with a 95 % interval.

    Only minutes to which some sensor listened are counted. `hearing` is how many sensors hear a burst that any of them
    hears, however far. `apart` is that of `Occupancy`, `beyond` the share of minutes with more people than ever in the
    truth: where either stays high, the calibration does not fit any more.
    """

    visitor_h: float
    visitor_h_lo: float
    visitor_h_hi: float
    hearing: float
    apart: float
    beyond: float


def day_total(heard: Heard, filtered: Filtered, occupancy: Occupancy) -> DayTotal:
    """The total of the stretch that `filtered` and its `occupancy` tell of."""
    listened = heard.listened.any(axis=1)
    people = occupancy.history[listened] @ occupancy.levels
    hours = float(people.sum()) / 60
    drawn = filtered.paths(_PATHS)[:, listened].sum(axis=1) / 60
    lo, hi = (float(np.quantile(drawn, share)) for share in (TAIL, 1 - TAIL))
    return DayTotal(
        visitor_h=hours,
        visitor_h_lo=min(lo, hours),
        visitor_h_hi=max(hi, hours),
        hearing=hearing([(heard.passing, heard.listened)]),
        apart=occupancy.apart,
        beyond=float((people > filtered.model.calibration.fitted_people).mean()) if len(people) else 0.0,
    )
