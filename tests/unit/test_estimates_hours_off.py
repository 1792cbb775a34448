"""A truth in another zone is noticed where it meets what was heard, and one that may be right is let alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from footfall_estimates.hours_off import ZONES_S, better_shift_s
from footfall_estimates.minutes import Heard
from footfall_estimates.minutes import heard as heard_of
from footfall_estimates.truth import Level
from numpy.typing import NDArray

FIRST = 28_000_000
HOUR_S = 3600
PER_PERSON = 0.6


def a_day(seed: int, minutes: int = 720) -> NDArray[np.int64]:
    """People by minute: a morning and a larger afternoon, nobody at the ends."""
    random = np.random.default_rng(seed)
    minute = np.arange(minutes)
    humps = 8 * np.exp(-(((minute - 180) / 60) ** 2)) + 15 * np.exp(-(((minute - 450) / 90) ** 2))
    people: NDArray[np.int64] = np.maximum(0, np.round(humps + random.normal(0, 0.5, minutes))).astype(np.int64)
    return people


def sounding(people: NDArray[np.int64], seed: int, first: int = FIRST, per_person: float = PER_PERSON) -> Heard:
    near = np.random.default_rng(seed).poisson(0.02 + people[:, None, None] * per_person / 4, (len(people), 1, 4))
    return Heard(first, ("1",), near.astype(np.int64), np.ones((len(people), 1)), near[:, :, 0].astype(np.int64))


def levels(people: NDArray[np.int64], shift_s: float = 0, first: int = FIRST) -> list[Level]:
    return [Level(60 * (first + m) + shift_s, 60 * (first + m + 1) + shift_s, n) for m, n in enumerate(people.tolist())]


@pytest.mark.parametrize("hours", [-5, -2, -1, 1, 1.0, 2, 3.5, 5.75])
def test_a_truth_that_is_hours_off_is_told_how_to_move(hours: float) -> None:
    people = a_day(1)
    assert better_shift_s(levels(people, hours * HOUR_S), [sounding(people, 1)]) == -hours * HOUR_S


def test_days_of_one_file_are_judged_together() -> None:
    days = [(a_day(seed), FIRST + 1440 * seed) for seed in range(3)]
    truth = [level for people, first in days for level in levels(people, HOUR_S, first)]
    heard = [sounding(people, 1, first) for people, first in days]
    assert better_shift_s(truth, heard) == -HOUR_S


@pytest.mark.parametrize("seed", range(20))
def test_a_truth_at_the_right_times_is_let_alone_whatever_part_of_the_day_it_tells_of(seed: int) -> None:
    people = a_day(seed)
    heard = sounding(people, seed, per_person=np.random.default_rng(seed).uniform(0.1, 1.5))
    for begin in range(0, 541, 60):
        for length in (60, 180, 240, 720):
            assert better_shift_s(levels(people)[begin : begin + length], [heard]) is None


def unlike(people: NDArray[np.int64]) -> dict[str, tuple[Sequence[Level], Heard]]:
    heard = sounding(people, 1)
    off = levels(people, HOUR_S)
    steady = 5 + np.arange(720) % 2
    rising = np.concatenate([np.full(360, 5), np.arange(360) // 20])
    return {
        "no truth": ([], heard),
        "nothing heard": (off, replace(heard, near=np.zeros_like(heard.near))),
        "nobody listened": (off, replace(heard, listened=np.zeros_like(heard.listened))),
        "no minute": (off, heard_of([])),
        "less than three hours": (off[300:470], heard),
        "an empty day": (levels(np.zeros(720, np.int64), HOUR_S), sounding(np.zeros(720, np.int64), 1)),
        "people who stay": (levels(steady, HOUR_S), sounding(steady, 1)),
        "a steady part of a day that rises elsewhere": (levels(rising)[:240], sounding(rising, 1)),
    }


@pytest.mark.parametrize("case", list(unlike(a_day(1))))
def test_where_too_little_can_be_told_nothing_is(case: str) -> None:
    truth, heard = unlike(a_day(1))[case]
    assert better_shift_s(truth, [heard]) is None


def test_a_level_that_never_ends_costs_no_more_than_what_was_heard() -> None:
    assert better_shift_s([Level(0, 1e15, 3)], [sounding(a_day(1), 1)]) is None


def test_zones_are_tried_from_the_least_away() -> None:
    assert ZONES_S[:2] == (-HOUR_S, HOUR_S)
    assert max(ZONES_S) == 14 * HOUR_S
    assert sorted(ZONES_S, key=abs) == list(ZONES_S)
