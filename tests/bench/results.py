"""RESULTS.md: one section a benchmark, each with the machine and the revision it was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.report import Figure, Report, Target

RESULTS = Path(__file__).with_name("RESULTS.md")


def machine() -> str:
    """Processor, cores, memory and Python, in a line."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    name = model[1].strip() if model else platform.machine()
    return f"{name}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def revision() -> str:
    """The commit that was measured, with a plus for changes that are in none."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=RESULTS.parent)
    return done.stdout.strip() or "no revision"


def write(reports: Sequence[Report], path: Path = RESULTS) -> None:
    """Put the reports in place of the sections of the same names; other sections stay."""
    head, *rest = re.split(r"^(?=## )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {section.splitlines()[0].removeprefix("## "): section.rstrip() + "\n" for section in rest}
    sections |= {report.name: section(report) for report in reports}
    path.write_text(head.rstrip() + "\n\n" + "\n".join(sections.values()), encoding="utf-8")


def section(report: Report) -> str:
    """One report as Markdown."""
    when = datetime.now(UTC).date()
    parts = [f"## {report.name}", f"{when}, revision {revision()}, {machine()}.", report.work.strip()]
    parts.append(_figures(report.figures))
    if report.targets:
        parts.append(_targets(report.targets))
    parts += [f"- {target.what}: {target.why}" for target in report.targets if target.why]
    return "\n\n".join(parts) + "\n"


def _figures(figures: Sequence[Figure]) -> str:
    rows = ["| case | contender | median | range | unit | |", "|---|---|---:|---:|---|---|"]
    for one in figures:
        spread = f"{number(min(one.values))} to {number(max(one.values))}" if len(one.values) > 1 else ""
        rows.append(f"| {one.case} | {one.contender} | {number(one.median)} | {spread} | {one.unit} | {one.remark} |")
    return "\n".join(rows)


def _targets(targets: Sequence[Target]) -> str:
    rows = ["| target | wanted | measured | |", "|---|---:|---:|---|"]
    for one in targets:
        rows.append(f"| {one.what} | {one.wanted} | {number(one.measured)} | {'met' if one.is_met else '**missed**'} |")
    return "\n".join(rows)


def number(value: float) -> str:
    """Three digits that count, with separators."""
    if value == 0 or abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
