"""Sorted runs hold what was added, in few runs, and find rows by their keys."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import footfall_streams.sorted_runs as sorted_runs
import numpy as np
import pytest
from footfall_streams.columns import Columns
from footfall_streams.sorted_runs import SortedRuns


def rows(keys: list[int], label: int) -> Columns:
    return Columns({"key": np.array(sorted(keys), np.uint64), "label": np.full(len(keys), label)})


def pairs(part: Columns) -> list[tuple[int, int]]:
    return list(zip(part["key"].tolist(), part["label"].tolist(), strict=True))


def test_rows_stay_findable_in_few_runs_however_many_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_runs, "_SMALLEST", 4)
    random, runs = Random(7), SortedRuns()
    wanted: list[tuple[int, int]] = []
    for label in range(300):
        keys = [random.randrange(2**64 - 200, 2**64) for _ in range(random.randrange(12))]
        runs.add(rows(keys, label))
        wanted += [(key, label) for key in keys]
        assert len(runs) == len(wanted)
        assert all(len(run) and np.array_equal(run["key"], np.sort(run["key"])) for run in runs.runs)
        for least, most in pairwise([0, 4, 32, 256, 2048]):
            assert sum(least < len(run) <= most for run in runs.runs) < 8
    assert sorted(pair for run in runs.runs for pair in pairs(run)) == sorted(wanted)
    asked = np.array(sorted(random.sample(range(2**64 - 200, 2**64), 30)), np.uint64)
    found = [
        (int(run["key"][place]), int(run["label"][place]), int(asked[key]))
        for run, places, which in runs.find(asked, asked)
        for place, key in zip(places.tolist(), which.tolist(), strict=True)
    ]
    assert sorted(found) == sorted((key, label, key) for key, label in wanted if key in set(asked.tolist()))
