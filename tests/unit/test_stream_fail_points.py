"""The places where a test may break the worker: which are reached, and what is refused."""

from __future__ import annotations

import pytest
from footfall_streams.fail_points import ACTIONS, NONE_ARMED, POINTS, FailPoints


def test_an_armed_place_acts_at_its_nth_passing_and_never_again() -> None:
    pass_by = FailPoints("folded:raise:2")
    pass_by("folded")
    pass_by("written")
    with pytest.raises(RuntimeError, match="fail point"):
        pass_by("folded")
    pass_by("folded")


def test_without_a_number_the_first_passing_counts() -> None:
    with pytest.raises(RuntimeError):
        FailPoints("owned:raise")("owned")


@pytest.mark.parametrize("place", POINTS)
def test_an_unarmed_place_does_nothing(place: str) -> None:
    NONE_ARMED(place)


MISTAKES = ["owned", "owned:", "nowhere:kill", "owned:explode", "owned:kill:x", "owned:kill:1:2"]


@pytest.mark.parametrize("armed", MISTAKES)
def test_anything_else_is_refused_with_what_there_is(armed: str) -> None:
    with pytest.raises(ValueError, match="PLACE:ACTION") as refused:
        FailPoints(armed)
    assert all(name in str(refused.value) for name in [*POINTS, *ACTIONS])
