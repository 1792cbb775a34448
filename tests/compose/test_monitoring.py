"""Prometheus and Grafana: they ask for what our services export, where docker-compose.yml has it, and raise alerts."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from footfall_cli.children import Child, free_port
from footfall_cli.estimate_command import Gauges
from footfall_collectors.metrics import CollectorMetrics
from footfall_sinks.metrics import SinkMetrics
from footfall_streams.metrics import StreamMetrics
from prometheus_client import CollectorRegistry

from tests.compose.compose_file import ROOT, Service
from tests.compose.dashboards import DASHBOARDS, panels, queries, variables
from tests.compose.plain_processes import Place, Running, wait_until
from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import probe

CONFIG = ROOT / "infra/prometheus/prometheus.yml"
ALERTS = ROOT / "infra/prometheus/alerts.yml"
STAGES: list[Callable[[CollectorRegistry], object]] = [CollectorMetrics, StreamMetrics, SinkMetrics, Gauges]
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}

# These have no series before the first trouble of their kind, and rows none before the first insert.
SILENT = {
    "footfall_collector_dropped_sightings_total",
    "footfall_collector_messages_failed_total",
    "footfall_sinks_dead_letters_total",
    "footfall_sinks_retries_total",
    "footfall_sinks_rows_total",
    "footfall_streams_dead_letters_total",
    "footfall_streams_dropped_sightings_total",
}


@pytest.fixture
def promtool() -> Callable[..., str]:
    """Runs promtool; what it printed. Fails unless it ends with 0."""

    def run(*arguments: str, given: str = "") -> str:
        done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def exported(metrics: Callable[[CollectorRegistry], object]) -> set[str]:
    """Names of everything that a stage exports, as Prometheus stores them."""
    registry = CollectorRegistry()
    metrics(registry)
    return {f"{family.name}{suffix}" for family in registry.collect() for suffix in SUFFIXES[family.type]}


def targets() -> dict[str, str]:
    """Address that each job asks."""
    jobs = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["scrape_configs"]
    return {job["job_name"]: target for job in jobs for entry in job["static_configs"] for target in entry["targets"]}


def test_the_dashboards_ask_only_for_what_the_stages_export() -> None:
    known = set().union(*(exported(stage) for stage in STAGES))
    for query in queries():
        assert query.metrics <= known, query
        assert query.metrics or "up{" in query.promql, query
        assert "$" not in query.promql, query


def test_a_panel_for_each_of_something_has_a_variable_that_says_of_what() -> None:
    known = set().union(*(exported(stage) for stage in STAGES))
    for query in variables().values():
        (metric,) = re.findall(r"^label_values\((\w+), \w+\)$", query)
        assert metric in known
    named = {name for path in DASHBOARDS for name in re.findall(r"\$([a-z]\w*)", path.read_text(encoding="utf-8"))}
    assert named == variables().keys() == {panel["repeat"] for panel in panels() if "repeat" in panel}


def test_a_band_reaches_from_one_line_of_its_panel_to_another() -> None:
    bands = 0
    for panel in panels():
        lines = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            ends = [p["value"] for p in override["properties"] if p["id"] == "custom.fillBelowTo"]
            assert {override["matcher"]["options"], *ends} <= lines, panel["title"]
            bands += len(ends)
    assert bands == 1


def test_an_operator_finds_what_is_needed_first() -> None:
    asked = set().union(*(query.metrics for query in queries()))
    assert {
        "footfall_streams_sightings_total",
        "footfall_streams_watermark_timestamp_seconds",
        "footfall_streams_dead_letters_total",
        "footfall_streams_commit_seconds_bucket",
        "footfall_sinks_paused",
        "footfall_sinks_retries_total",
        "footfall_sinks_rows_total",
        "footfall_collector_frames_total",
        "footfall_collector_rejected_frames_total",
        "footfall_collector_ignored_frames_total",
        "footfall_collector_messages_delivered_total",
        "footfall_collector_messages_failed_total",
        "footfall_estimates_occupancy",
        "footfall_estimates_occupancy_lo",
        "footfall_estimates_occupancy_hi",
        "footfall_estimates_window_timestamp_seconds",
    } <= asked


def test_the_dashboards_are_where_grafana_looks_and_name_its_data_source(composed: dict[str, Service]) -> None:
    provisioning = ROOT / "infra/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/footfall.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    mounts = {mount.target: mount.source for mount in composed["grafana"].mounts}
    assert (ROOT / mounts[provider["options"]["path"]]).resolve() == DASHBOARDS[0].parent
    assert (ROOT / mounts["/etc/grafana/provisioning"]).resolve() == provisioning
    assert source["url"] == "http://prometheus:9090"
    for panel in panels():
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": source["type"], "uid": source["uid"]}
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))


def test_prometheus_asks_each_stage_at_the_port_that_it_is_given(composed: dict[str, Service]) -> None:
    ports = {name: one.environment.get("FOOTFALL_METRICS_PORT") for name, one in composed.items()}
    assert targets() == {name: f"{name}:{port}" for name, port in ports.items() if port}
    # A stage that listened on its own loopback would be healthy to itself and out of Prometheus's reach.
    assert {composed[name].environment["FOOTFALL_METRICS_HOST"] for name in ("stream", "sink", "estimates")} == {
        "0.0.0.0"
    }


def test_the_panel_of_processes_knows_every_job() -> None:
    (query,) = [query for query in queries() if query.panel == "Processes up"]
    assert set(re.findall(r"\w+", query.promql.split("~")[1])) == targets().keys()


def rule_files() -> list[str]:
    """Files of alerts that the configuration names, beside it."""
    return [str(name) for name in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["rule_files"]]


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_finds_the_alerts_beside_its_configuration(composed: dict[str, Service]) -> None:
    mounts = {mount.target: mount.source for mount in composed["prometheus"].mounts}
    assert rule_files() == [ALERTS.name]
    for file in (CONFIG, ALERTS):
        assert (ROOT / mounts[f"/etc/prometheus/{file.name}"]).resolve() == file


def test_an_alert_asks_for_what_is_exported_and_says_what_to_do() -> None:
    guide = (ROOT / "infra/README.md").read_text(encoding="utf-8")
    known = set().union(*(exported(stage) for stage in STAGES))
    for alert in alerts():
        assert set(re.findall(r"\bfootfall_\w+", alert["expr"])) <= known, alert["alert"]
        assert set(re.findall(r'job="(\w+)"', alert["expr"])) <= targets().keys(), alert["alert"]
        assert alert["labels"]["severity"] in ("warning", "info")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert f"`{alert['alert']}` | {alert['labels']['severity']} |" in guide, alert["alert"]


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("check", "config", str(CONFIG))


@pytest.mark.prometheus
def test_promtool_accepts_every_query_of_the_dashboards(promtool: Callable[..., str], tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query.promql} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


@pytest.mark.broker
@pytest.mark.radio
@pytest.mark.prometheus
@pytest.mark.parametrize("name", ["collector", "stream", "sink", "estimates"])
def test_promtool_accepts_the_metrics_of_a_stage(
    promtool: Callable[..., str], stages: dict[str, Running], estimates: Running, name: str
) -> None:
    assert promtool("check", "metrics", given={**stages, "estimates": estimates}[name].metrics()) == ""


_FROM = '{job="estimates",instance="estimates:9104"}'
_NORTH = _FROM.replace("{", '{store_id="north",')
UP, NEWEST = f"up{_FROM}", f"footfall_estimates_window_timestamp_seconds{_NORTH}"
OUTSIDE = f"footfall_estimates_outside_fitted_range{_NORTH}"
FINE = {UP: "1x240", NEWEST: "0+60x240"}


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("minutes", "series", "firing"),
    [
        pytest.param(60, FINE, "", id="nothing, while windows come"),
        pytest.param(9, {UP: "1 0x240"}, "", id="the service may be away for a while"),
        pytest.param(12, {UP: "1 0x240"}, "FootfallEstimatesDown", id="and no longer"),
        pytest.param(60, {UP: "1x240"}, "", id="nothing, in a chain without a calibration"),
        pytest.param(34, {UP: "1x240", NEWEST: "0x240"}, "", id="half an hour without a window is borne"),
        pytest.param(37, {UP: "1x240", NEWEST: "0x240"}, "FootfallEstimateStuck", id="and not much more"),
        pytest.param(
            60, {UP: "1x20 0x220", NEWEST: "0x20"}, "FootfallEstimatesDown", id="who is down is not stuck, too"
        ),
        pytest.param(60, {UP: "1x240", NEWEST: "0x20"}, "FootfallEstimateStuck", id="a restart hides no stuck store"),
        pytest.param(60, {UP: "1 0 " * 120, NEWEST: "0 _ " * 120}, "FootfallEstimateStuck", id="nor do many"),
        pytest.param(240, {UP: "1x240", NEWEST: "0+60x230 3600x10"}, "", id="nothing, while history is worked through"),
        pytest.param(125, {**FINE, OUTSIDE: "0x9 1x230"}, "", id="two hours outside of the fitted range are borne"),
        pytest.param(132, {**FINE, OUTSIDE: "0x9 1x230"}, "FootfallEstimateOutsideFittedRange", id="and no more"),
        pytest.param(240, {**FINE, OUTSIDE: "0x240"}, "", id="nothing, within it"),
    ],
)
def test_what_fires(
    promtool: Callable[..., str], tmp_path: Path, minutes: int, series: dict[str, str], firing: str
) -> None:
    """Series have a sample a minute, from 1970 on."""
    asked: dict[str, Any] = {"expr": 'sum by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{minutes}m"}
    asked["exp_samples"] = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
    given = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [case]}), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(file))


class Prometheus:
    """The server, as the compose file starts it, asking our processes instead of containers, every second."""

    def __init__(self, service: Service, place: Place, directory: Path) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        config = CONFIG.read_text(encoding="utf-8").replace("15s", "1s")
        for target in targets().values():
            config = config.replace(target, place.addresses[target])
        file = directory / "prometheus.yml"
        file.write_text(config, encoding="utf-8")
        for name in rule_files():
            (directory / name).write_text((CONFIG.parent / name).read_text(encoding="utf-8"), encoding="utf-8")
        here = {"/etc/prometheus/prometheus.yml": str(file), "/prometheus": str(directory / "data")}
        options = [re.sub(r"=(/\S+)", lambda found: f"={here[found[1]]}", word) for word in service.argv]
        argv = ["prometheus", *options, f"--web.listen-address={self._address}"]
        self.child = Child("prometheus", argv, directory / "prometheus.log", {"PATH": "/usr/local/bin:/usr/bin:/bin"})
        self._health_url = service.health_test[-1].replace("127.0.0.1:9090", self._address)

    def is_healthy(self) -> bool:
        """Whether the address of the file's health check answers."""
        assert self.child.exit_code() is None, self.child.tail()
        try:
            with urllib.request.urlopen(self._health_url, timeout=3) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """Data of one answer of its API."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def up(self) -> set[str]:
        """Jobs whose target answers."""
        return {one["labels"]["job"] for one in self.ask("targets")["activeTargets"] if one["health"] == "up"}

    def rules(self) -> list[Any]:
        """Every alert that it has loaded, with its health and what it found."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def summaries(self) -> set[str]:
        """What it has to say, whether for long or not."""
        return {found["annotations"]["summary"] for rule in self.rules() for found in rule["alerts"]}

    def has_data(self, promql: str) -> bool:
        return self.labels(promql) != []

    def labels(self, promql: str) -> list[set[str]]:
        """Labels of every series that a query gives."""
        return [set(one["metric"]) for one in self.ask("query", query=promql)["result"]]


@pytest.fixture
def prometheus(
    composed: dict[str, Service], place: Place, stages: dict[str, Running], estimates: Running, tmp_path: Path
) -> Iterator[Prometheus]:
    """A server that asks the running stages; ended by SIGTERM it leaves with 0."""
    server = Prometheus(composed["prometheus"], place, tmp_path)
    server.child.start()
    try:
        wait_until(server.is_healthy, "Prometheus healthy")
        yield server
    finally:
        server.child.stop()
    assert server.child.exit_code() == 0, server.child.tail()


@pytest.mark.broker
@pytest.mark.radio
@pytest.mark.prometheus
def test_prometheus_reaches_every_stage_and_the_panels_show_something(
    prometheus: Prometheus, radio: VirtualRadio
) -> None:
    wait_until(lambda: prometheus.up() == {"collector", "stream", "sink", "estimates"}, "every stage up")
    radio.transmit(probe("00:1c:b3:00:01:01")[:20])  # rejected
    radio.transmit(probe("dc:fb:48:00:00:01"))  # of a vendor that the store ignores
    for query in queries():
        if not query.metrics & SILENT:
            wait_until(partial(prometheus.has_data, query.promql), f"{query.panel}: {query.promql}")
        for labels in prometheus.labels(query.promql):
            assert labels >= set(query.legend_labels), query


@pytest.mark.broker
@pytest.mark.radio
@pytest.mark.prometheus
def test_prometheus_misses_the_store_whose_last_minute_is_more_than_an_hour_ago(prometheus: Prometheus) -> None:
    wait_until(lambda: prometheus.summaries() == {"No new estimate of the people in harbour"}, "its alert")
    assert {rule["name"]: rule["health"] for rule in prometheus.rules()} == {rule["alert"]: "ok" for rule in alerts()}
