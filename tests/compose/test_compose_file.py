"""docker-compose.yml, checked without an engine: its form, its versions, and what it opens to whom."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.compose.compose_file import COMPOSE, ROOT, VARIABLE, Service, example_values, raw, services
from tests.compose.dockerfile import locked

VALUES = {**example_values(), "CLICKHOUSE_PASSWORD": "c1", "GRAFANA_PASSWORD": "g1"}
SERVICES = services(VALUES)
OURS = [service for service in SERVICES.values() if service.dockerfile]

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
every_one_of_ours = pytest.mark.parametrize("service", OURS, ids=[service.name for service in OURS])


def test_the_file_follows_the_compose_specification() -> None:
    tool = Path(sys.executable).parent / "check-jsonschema"
    command = [str(tool), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_the_servers_and_stages_are_there() -> None:
    assert {
        "kafka",
        "clickhouse",
        "prometheus",
        "grafana",
        "collector",
        "stream",
        "sink",
        "estimates",
    } <= SERVICES.keys()


@every_service
def test_every_mounted_path_is_in_the_repository(service: Service) -> None:
    for mount in service.mounts:
        assert not mount.is_bind or (ROOT / mount.source).exists(), mount.source
        assert mount.is_bind or mount.source in raw()["volumes"], mount.source


@every_service
def test_every_published_port_is_on_loopback(service: Service) -> None:
    for port in service.spec.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@every_service
def test_every_image_is_pinned(service: Service) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(\.\d+)?", service.spec["image"])


@every_service
def test_what_runs_for_long_is_watched_and_started_again(service: Service) -> None:
    if service.ends:
        assert "healthcheck" not in service.spec
    else:
        assert service.spec["restart"] == "unless-stopped"
        assert service.health_test
        assert service.spec["stop_grace_period"].endswith("s")


@every_service
def test_a_service_waits_for_what_it_needs_in_the_way_that_fits(service: Service) -> None:
    for name, wait in service.spec.get("depends_on", {}).items():
        needed = SERVICES[name]
        wanted = "service_completed_successfully" if needed.ends else "service_healthy"
        assert wait["condition"] == wanted
        assert needed.spec.get("profiles", []) in ([], service.spec.get("profiles", []))


def test_the_servers_are_those_that_the_tests_run() -> None:
    kafka = tomllib.loads((ROOT / "infra/kafka/jgo.toml").read_text())["dependencies"]["coordinates"]
    assert f"org.apache.kafka:kafka_2.13:{_tag('kafka')}" in kafka
    engine = locked(ROOT / "requirements.lock")["chdb-core"]
    assert _tag("clickhouse").split(".")[:2] == engine.split(".")[:2]


@every_one_of_ours
def test_our_images_carry_the_version_of_the_distribution(service: Service) -> None:
    assert _tag(service.name) == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@every_one_of_ours
def test_our_containers_may_do_no_more_than_they_must(service: Service) -> None:
    spec = service.spec
    assert spec["cap_drop"] == ["ALL"]
    assert spec["security_opt"] == ["no-new-privileges:true"]
    assert spec["read_only"] is True
    assert spec["init"] is True
    # The radio's socket asks for root, and the key belongs to who reads it.
    assert ("user" in spec) == (service.name in ("collector", "keys"))
    assert ("cap_add" in spec) == (service.name == "collector")


@every_one_of_ours
def test_every_setting_is_one_that_the_command_reads(service: Service) -> None:
    sources = [*ROOT.glob("*/footfall_*/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for name in service.environment:
        assert f'"{name}"' in text, name


def test_the_radio_is_asked_for_and_everything_else_is_not() -> None:
    profiles = {name: service.spec["profiles"] for name, service in SERVICES.items() if "profiles" in service.spec}
    assert profiles == {"collector": ["radio"], "keys": ["radio"]}


def test_the_collector_shows_its_metrics_to_the_containers_and_not_to_the_shop() -> None:
    (network,) = raw()["networks"]["default"]["ipam"]["config"]
    collector, prometheus = SERVICES["collector"], SERVICES["prometheus"]
    assert collector.spec["network_mode"] == "host"
    assert collector.environment["FOOTFALL_METRICS_HOST"] == network["gateway"]
    assert prometheus.spec["extra_hosts"] == {"collector": network["gateway"]}


def test_no_password_stands_in_the_file_and_an_unset_one_is_refused_with_the_remedy() -> None:
    for name, service in raw()["services"].items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or re.search("://.*@", str(value)):
                assert re.search(r"\$\{\w+_PASSWORD:\?set it in \.env", value), f"{name}: {key}"
    for unset in ("CLICKHOUSE_PASSWORD", "GRAFANA_PASSWORD", "FOOTFALL_CHAIN"):
        with pytest.raises(KeyError, match=rf"{unset}: .*\.env"):
            services({**VALUES, unset: ""})


def test_the_example_names_every_variable_and_holds_no_password() -> None:
    asked = {found["name"] for found in VARIABLE.finditer(COMPOSE.read_text(encoding="utf-8")) if found["name"]}
    assert example_values().keys() == asked
    assert not [name for name, value in example_values().items() if name.endswith("PASSWORD") and value]


def test_every_dollar_is_a_form_that_the_tests_understand() -> None:
    assert "$" not in VARIABLE.sub("", COMPOSE.read_text(encoding="utf-8"))


def _tag(name: str) -> str:
    return str(SERVICES[name].spec["image"]).partition(":")[2]
