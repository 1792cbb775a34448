"""The provisioned dashboards as data: every query with the labels that its legend names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.compose.compose_file import ROOT

DASHBOARDS = sorted((ROOT / "infra/grafana/dashboards").glob("*.json"))


@dataclass(frozen=True)
class Query:
    """One line of a panel. `promql` has Grafana's own variables replaced by a fixed range."""

    panel: str
    promql: str
    legend_labels: tuple[str, ...]

    @property
    def metrics(self) -> set[str]:
        """Our metrics that it asks for."""
        return set(re.findall(r"\bfootfall_\w+", self.promql))


def panels() -> list[dict[str, Any]]:
    """Every panel but the headings."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]
    return [panel for document in documents for panel in document["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel."""
    return [
        Query(
            panel["title"],
            target["expr"].replace("$__rate_interval", "1m"),
            tuple(re.findall(r"{{(\w+)}}", target["legendFormat"])),
        )
        for panel in panels()
        for target in panel["targets"]
    ]
