"""The embedded broker that every test of the real thing shares, and the rule that nothing is left out in CI."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka

from tests.captures import NO_CAPTURES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a skipped test fails, unless the shared captures are what it lacks"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and NO_CAPTURES not in str(report.longrepr):
        report.outcome = "failed"
    return report


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A broker of the test's own, empty."""
    broker = EmbeddedKafka(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()
