"""What a day of one store comes to: hours of customers inside, and whether its calibration still fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall_estimates.minutes import Heard, hearing
from footfall_estimates.occupancy import Filtered, Occupancy

_PATHS = 200
_TAIL = 0.025


@dataclass(frozen=True)
class DayTotal:
    """`visitor_h` are the hours that people other than staff were inside in all, with a 95 % interval.

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
    calibration = filtered.model.calibration
    listened = heard.listened.any(axis=1)
    inside = occupancy.levels - calibration.staff * (occupancy.levels > 0)
    hours = float((occupancy.history[listened] @ np.maximum(inside, 0.0)).sum()) / 60
    paths = filtered.paths(_PATHS)[:, listened]
    drawn = np.maximum(paths - calibration.staff * (paths > 0), 0.0).sum(axis=1) / 60
    lo, hi = (float(np.quantile(drawn, share)) for share in (_TAIL, 1 - _TAIL))
    people = occupancy.history[listened] @ occupancy.levels
    return DayTotal(
        visitor_h=hours,
        visitor_h_lo=min(lo, hours),
        visitor_h_hi=max(hi, hours),
        hearing=hearing([(heard.passing, heard.listened)]),
        apart=occupancy.apart,
        beyond=float((people > calibration.fitted_people).mean()) if len(people) else 0.0,
    )
