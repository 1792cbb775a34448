"""The embedded broker that every test of the real thing shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A broker of the test's own, empty."""
    broker = EmbeddedKafka(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()
