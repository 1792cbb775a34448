"""Groups of rows: what they reduce to is what numpy's own, slower, way says."""

from __future__ import annotations

import numpy as np
import pytest
from footfall_streams.segments import Groups


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9, 1.0], ids=lambda share: f"{share} of the rows begin a group")
@pytest.mark.parametrize("function", [np.minimum, np.maximum, np.add])
def test_groups_reduce_as_reduceat_does(function: np.ufunc, share: float) -> None:
    random = np.random.default_rng(3)
    for length in (1, 2, 7, 500):
        starts = random.random(length) < share
        starts[0] = True
        order, values = random.permutation(length), random.integers(-1000, 1000, length)
        heads = np.flatnonzero(starts)
        found = Groups(order, heads).reduce(function, values)
        assert found.tolist() == function.reduceat(values[order], heads).tolist()


def test_no_rows_are_no_groups() -> None:
    nothing = np.empty(0, np.int64)
    assert not len(Groups(nothing, nothing).reduce(np.maximum, nothing))
