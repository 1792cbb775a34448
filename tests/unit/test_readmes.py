"""What the guides name is there: files, variables, metrics and reasons."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from footfall_collectors.dot11 import IGNORED, REJECTED
from footfall_collectors.metrics import CollectorMetrics
from footfall_sinks.metrics import SinkMetrics
from footfall_streams.metrics import StreamMetrics
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", *(ROOT / folder / "README.md" for folder in ("collectors", "streams", "sinks", "infra"))]
CODE = "\n".join(
    path.read_text() for stage in ("collectors", "streams", "sinks", "infra") for path in (ROOT / stage).rglob("*.py")
)


def _exported(metrics: type[CollectorMetrics] | type[StreamMetrics] | type[SinkMetrics]) -> set[str]:
    registry = CollectorRegistry()
    metrics(registry)
    return {family.name for family in registry.collect()}


@pytest.mark.parametrize(
    ("stage", "prefix", "metrics"),
    [
        ("collectors", "footfall_collector_", CollectorMetrics),
        ("streams", "footfall_streams_", StreamMetrics),
        ("sinks", "footfall_sinks_", SinkMetrics),
    ],
)
def test_every_metric_is_in_its_guide(
    stage: str, prefix: str, metrics: type[CollectorMetrics] | type[StreamMetrics] | type[SinkMetrics]
) -> None:
    guide = (ROOT / stage / "README.md").read_text()
    for name in _exported(metrics):
        assert name.startswith(prefix)
        assert re.search(rf"`({prefix})?{name.removeprefix(prefix)}(_total)?[`{{]", guide), name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_every_variable_of_a_guide_is_read_by_the_code(guide: Path) -> None:
    names = set(re.findall(r"FOOTFALL_[A-Z_]+", guide.read_text()))
    for name in names:
        option = name.removeprefix("FOOTFALL_").lower().replace("_", "-")
        assert f'"{name}"' in CODE or f'"{option}"' in CODE, name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_every_file_of_a_guide_exists(guide: Path) -> None:
    for name in re.findall(r"`([\w./-]+/[\w./-]*\.\w+)`", guide.read_text()):
        places = [guide.parent, ROOT, *guide.parent.glob("footfall_*"), ROOT / "collectors" / "footfall_collectors"]
        assert any((place / name).exists() for place in places), name


def test_every_reason_for_which_a_frame_is_left_out_is_in_the_collectors_guide() -> None:
    guide = (ROOT / "collectors" / "README.md").read_text()
    assert all(f"`{reason}`" in guide for reason in [*REJECTED.values(), *IGNORED.values()])


def test_every_reason_for_a_dead_letter_is_in_the_streams_guide() -> None:
    guide = (ROOT / "streams" / "README.md").read_text()
    sources = [*(ROOT / "streams").rglob("*.py")]
    reasons = {r for path in sources for r in re.findall(r'PoisonEvent\(\s*"(\w+)"', path.read_text())}
    assert len(reasons) > 8
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in guide] == []
