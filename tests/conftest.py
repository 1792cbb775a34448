"""The embedded broker that every test of the real thing shares, and what happens to a test that lacks something."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka

from tests.captures import BRNO

LACKING = {
    mark: reason
    for mark, is_there, reason in (
        ("captures", bool(BRNO), "the shared captures are not beside the repository"),
        ("tshark", shutil.which("tshark"), "tshark is not installed"),
        ("prometheus", shutil.which("prometheus") and shutil.which("promtool"), "prometheus is not installed"),
        (
            "radio",
            os.access("/dev/net/tun", os.R_OK | os.W_OK) and os.geteuid() == 0 and shutil.which("ip"),
            "no virtual radio: /dev/net/tun cannot be opened, this is not root, or ip is not installed",
        ),
    )
    if not is_there
}
"""Why tests with a mark cannot run on this machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a skipped test fails, unless the shared captures are what it lacks"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers():
        if mark.name in LACKING:
            pytest.skip(LACKING[mark.name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    may_be_absent = "captures" in LACKING and item.get_closest_marker("captures")
    if report.skipped and item.config.getoption("--no-skips") and not may_be_absent:
        report.outcome = "failed"
    return report


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A broker of the test's own, empty."""
    broker = EmbeddedKafka(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()
