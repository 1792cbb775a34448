"""Draws estimated occupancy with its interval beside the truth, a panel for each day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from footfall_estimates.evaluation import Windows
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure


def draw(path: Path, days: Sequence[Windows], truth: Mapping[int, float], window_min: int) -> None:
    """Write a PNG; times are UTC."""
    figure = Figure(figsize=(10, 3.2 * len(days)), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, day in zip(figure.subplots(len(days), 1, squeeze=False)[:, 0], days, strict=True):
        numbers = day.numbers.tolist()
        times = [datetime.fromtimestamp(number * window_min * 60, UTC) for number in numbers]
        panel.fill_between(times, day.lo, day.hi, step="post", alpha=0.25, label="95 % interval")
        panel.step(times, day.people, where="post", label="estimate")
        people = [truth.get(number, float("nan")) for number in numbers]
        panel.step(times, people, where="post", color="black", label="truth")
        panel.set_ylabel("people")
        panel.set_title(f"{times[0]:%Y-%m-%d} (UTC)" if times else "no window")
        panel.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
        panel.set_ylim(bottom=0)
        panel.legend(loc="upper left")
    figure.savefig(path, format="png", dpi=120)
