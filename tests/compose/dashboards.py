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
    """One line of a panel. `promql` has Grafana's own variable replaced by a range, the dashboard's by any value."""

    panel: str
    promql: str
    legend_labels: tuple[str, ...]

    @property
    def metrics(self) -> set[str]:
        """Our metrics that it asks for."""
        return set(re.findall(r"\bfootfall_\w+", self.promql))


def _documents() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]


def variables() -> dict[str, str]:
    """Name of every variable of a dashboard, with the query that fills it."""
    return {one["name"]: one["query"]["query"] for document in _documents() for one in document["templating"]["list"]}


def panels() -> list[dict[str, Any]]:
    """Every panel but the headings."""
    return [panel for document in _documents() for panel in document["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel."""
    return [
        Query(
            panel["title"],
            re.sub(r'="\$\w+"', '=~".+"', target["expr"].replace("$__rate_interval", "1m")),
            tuple(re.findall(r"{{(\w+)}}", target["legendFormat"])),
        )
        for panel in panels()
        for target in panel["targets"]
    ]
