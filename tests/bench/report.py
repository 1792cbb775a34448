"""What a benchmark came to: figures of every contender, and the targets they are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Say = Callable[[str], None]
"""Tells whoever waits what is going on."""


@dataclass(frozen=True)
class Figure:
    """What one contender reached in one case, a value a repetition."""

    case: str
    contender: str
    unit: str
    values: tuple[float, ...]
    remark: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True)
class Target:
    """What was wanted of a ratio or a quantity, and what was measured; `why` explains one that is missed."""

    what: str
    wanted: str
    measured: float
    is_met: bool
    why: str = ""


@dataclass(frozen=True)
class Report:
    """One benchmark. `work` says, for somebody who has not read the code, what was done, on what, and how it was
    made sure that all contenders gave the same answer."""

    name: str
    work: str
    figures: tuple[Figure, ...]
    targets: tuple[Target, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it, with medians and ranges."""
        figures = [
            {
                "case": figure.case,
                "contender": figure.contender,
                "unit": figure.unit,
                "median": figure.median,
                "range": [min(figure.values), max(figure.values)],
                "values": list(figure.values),
            }
            for figure in self.figures
        ]
        return {"name": self.name, "figures": figures, "targets": [vars(target) for target in self.targets]}


def at_least(what: str, wanted: float, measured: float, why: str = "") -> Target:
    return Target(what, f">= {wanted:g}", measured, measured >= wanted, "" if measured >= wanted else why)


def at_most(what: str, wanted: float, measured: float, why: str = "") -> Target:
    return Target(what, f"<= {wanted:g}", measured, measured <= wanted, "" if measured <= wanted else why)


def alternate(
    contenders: Mapping[str, Callable[[], float]], repetitions: int, say: Say, unit: str = ""
) -> dict[str, tuple[float, ...]]:
    """What each contender measured, round after round; every other round in the opposite order.

    A slow spell of the machine then meets all of them, and none always runs behind the same one.
    """
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repetitions):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            value = contenders[name]()
            measured[name].append(value)
            say(f"{number + 1}/{repetitions} {name}: {value:,.4g} {unit}")
    return {name: tuple(values) for name, values in measured.items()}
