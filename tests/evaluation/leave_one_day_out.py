"""Leave-one-day-out on the Brno captures, beside simple ways to count: `python -m tests.evaluation.leave_one_day_out`.

Every method is fitted on the other days only. A baseline is one feature times the factor that makes its mean right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from footfall_cli.captures_heard import minute_rows
from footfall_estimates import evaluation
from footfall_estimates.evaluation import Windows, in_windows, scores
from footfall_estimates.fit import Labelled, fit
from footfall_estimates.minutes import Heard, heard
from footfall_estimates.occupancy import estimate
from footfall_estimates.truth import read_levels, windows
from numpy.typing import NDArray

from tests.captures import CAPTURES

SITE = CAPTURES / "brno_sc661"
DAYS = ("2022-11-08", "2023-03-21", "2024-04-04")
EMPTY_DAY = "2024-03-30"
LAB_COMPUTERS = ("dc:fb:48",)
WINDOW_MIN = 5

Row = Mapping[str, Any]
Floats = NDArray[np.float64]


def _near(row: Row) -> float:
    return float(row["random_addresses_65"] + row["stable_addresses_65"])


BASELINES: dict[str, tuple[Callable[[Row], float], int]] = {
    "distinct addresses a minute": (lambda row: float(row["random_addresses_all"] + row["stable_addresses_all"]), 1),
    "global addresses only": (lambda row: float(row["stable_addresses_all"]), 1),
    "raw frames": (lambda row: float(row["frames"]), 1),
    "near bursts": (lambda row: float(row["random_bursts_65"] + row["stable_bursts_65"]), 1),
    "near addresses a minute": (_near, 1),
    "near addresses a minute, over 15 minutes": (_near, 3),
    "the mean of the other days": (lambda _: 1.0, 1),
}
"""Features of a minute, and over how many windows they are smoothed."""


@dataclass(frozen=True)
class Day:
    """One capture with its truth, as rows and as the estimator takes them; one sensor."""

    rows: Sequence[Row]
    known: Labelled

    @property
    def truth(self) -> dict[int, float]:
        return windows(self.known.levels, WINDOW_MIN * 60)


def day(date: str, position: int = 1, sensor_id: str = "1") -> Day:
    """A capture of the lab, its computers left out."""
    stem = f"sc6-61_{date}_position_{position}"
    rows, warnings = minute_rows(SITE / f"{stem}.pcap", "brno", LAB_COMPUTERS)
    assert not warnings
    named = [{**row, "sensor_id": sensor_id} for row in rows]
    return Day(named, Labelled(stem, heard(named), read_levels(SITE / f"{stem}_occupancy.csv")))


def filtered(train: Sequence[Day], heard_then: Heard) -> Windows:
    """Our estimates of a day, fitted on others."""
    calibration = fit("brno", [one.known for one in train])
    return in_windows(heard_then, estimate(calibration, heard_then), WINDOW_MIN)


def scaled(train: Sequence[Day], test: Day, feature: Callable[[Row], float], smooth: int) -> Windows:
    """One feature times one factor; windows without an interval."""
    pairs = [(x, one.truth[n]) for one in train for n, x in _feature(one, feature, smooth).items() if n in one.truth]
    factor = sum(people for _, people in pairs) / sum(x for x, _ in pairs)
    found = _feature(test, feature, smooth)
    people = factor * np.array(list(found.values()))
    return Windows(np.array(list(found)), people, people, people, people)


def _feature(one: Day, feature: Callable[[Row], float], smooth: int) -> dict[int, float]:
    by_window: dict[int, list[float]] = {}
    for row in one.rows:
        by_window.setdefault(int(row["minute"].timestamp()) // (WINDOW_MIN * 60), []).append(feature(row))
    means = {number: sum(found) / len(found) for number, found in by_window.items()}
    near = range(-(smooth // 2), smooth // 2 + 1)
    return {
        number: float(np.mean([means[number + step] for step in near if number + step in means])) for number in means
    }


def leave_one_out(days: Sequence[Day]) -> dict[str, list[tuple[Windows, dict[int, float]]]]:
    """Every method's windows of every day, with the truth."""
    found: dict[str, list[tuple[Windows, dict[int, float]]]] = {}
    for test in days:
        train = [one for one in days if one is not test]
        found.setdefault("joint filter", []).append((filtered(train, test.known.heard), test.truth))
        for name, (feature, smooth) in BASELINES.items():
            found.setdefault(name, []).append((scaled(train, test, feature, smooth), test.truth))
    return found


def two_sensors(first: Day) -> dict[str, Heard]:
    """The day that two sensors heard: each alone, and both as one store."""
    second = day("2024-04-04", position=2, sensor_id="2")
    both = heard([*first.rows, *second.rows])
    return {"sensor 1": first.known.heard, "sensor 2": second.known.heard, "both": both}


def together(parts: Sequence[tuple[Windows, dict[int, float]]]) -> dict[str, Any]:
    """Scores over all days, each window once."""
    truth = {number: people for _, of_day in parts for number, people in of_day.items()}
    return scores(evaluation.joined([found for found, _ in parts]), truth)


def errors(parts: Sequence[tuple[Windows, dict[int, float]]]) -> Floats:
    """Absolute errors of all windows, in order."""
    pairs = [
        (people, truth[number])
        for found, truth in parts
        for number, people in zip(found.numbers.tolist(), found.people.tolist(), strict=True)
        if number in truth
    ]
    return np.array([abs(people - really) for people, really in pairs])


def bootstrap(values: Floats, block: int = 6, draws: int = 4000) -> tuple[float, float]:
    """95 % interval of a mean of neighbours that resemble each other: half-hours are drawn, not windows."""
    random = np.random.default_rng(1)
    blocks = [values[begin : begin + block] for begin in range(0, len(values), block)]
    chosen = random.integers(0, len(blocks), (draws, len(blocks)))
    means = [np.concatenate([blocks[number] for number in row]).mean() for row in chosen]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def table() -> Iterator[str]:
    """The lines of the tables in streams/footfall_estimates/README.md."""
    days = [day(date) for date in DAYS]
    found = leave_one_out(days)
    ours = errors(found["joint filter"])
    yield f"| method | mae ({', '.join(DAYS)}) | bias | 95 % covers | the filter's mae less this one's, 95 % |"
    yield "|---|---|---|---|---|"
    for name, parts in found.items():
        total = together(parts)
        by_day = ", ".join(f"{together([part])['mae']:.2f}" for part in parts)
        covers, less = f"{total['coverage_95']:.0%}", ""
        if name in BASELINES:
            low, high = bootstrap(ours - errors(parts))
            covers, less = "", f"{low:+.2f} to {high:+.2f}"
        yield f"| {name} | {total['mae']:.2f} ({by_day}) | {total['bias']:+.2f} | {covers} | {less} |"
    low, high = bootstrap(ours)
    live = together(found["joint filter"])["mae_live"]
    yield f"joint filter: mae {ours.mean():.2f} (95 %: {low:.2f} to {high:.2f}), live {live:.2f}"
    empty = day(EMPTY_DAY)
    yield f"the empty day: mean estimate {scores(filtered(days, empty.known.heard), empty.truth)['mean_estimate']}"
    for name, sensors in two_sensors(days[2]).items():
        total = scores(filtered(days[:2], sensors), days[2].truth)
        yield f"2024-04-04, {name}: mae {total['mae']:.2f}, live {total['mae_live']:.2f}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
