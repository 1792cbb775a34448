"""A short look at what `simulated_chains.py` measures at length: visitors of days that were not fitted."""

from __future__ import annotations

import numpy as np

from tests.evaluation.simulated_chains import store_days


def test_visitors_of_a_day_are_told_within_the_interval() -> None:
    found = store_days(7, stores=1, days=5, visitors=150)
    assert len(found) == 2
    assert [day for day in found if not day.lo <= day.really <= day.hi] == []
    assert abs(np.mean([day.error for day in found])) < 0.25
    assert np.mean([(day.hi - day.lo) / day.people / 2 for day in found]) < 0.6
