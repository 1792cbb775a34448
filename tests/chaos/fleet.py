"""The whole pipeline of one campaign: broker, database, workers, sinks, sensors."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall
from footfall_cli.topics import apply_topics

from tests.chaos.members import Member
from tests.chaos.sensors import PipedSensor

PARTITIONS = 4
_SETTINGS = {
    # Small steps and inserts, so that faults come between them; short sessions, so that others take over soon.
    "FOOTFALL_CHUNK_MESSAGES": "64",
    "FOOTFALL_SINK_ROWS": "500",
    "FOOTFALL_SESSION_TIMEOUT_S": "6",
}


class Fleet:
    """Starts everything below a directory; with a `flaw`, worker and sink have their protocol broken by broken.py."""

    def __init__(self, directory: Path, config: Path, flaw: str = "") -> None:
        self.directory, self._config = directory, config
        self._made = 0
        self.broker_is_frozen = False
        self._environ = {**os.environ, **_SETTINGS, "TMPDIR": str(directory)}  # noqa: TID251  what the tests run in
        self.kafka = EmbeddedKafka(directory / "broker")
        self._port = free_port()
        self._footfall = [sys.executable, "-m", "tests.chaos.broken", flaw] if flaw else footfall()
        serve = [footfall()[0], "-m", "footfall_cli.embedded_clickhouse", "--data", str(directory / "clickhouse")]
        self.store = self._member("clickhouse", [*serve, "--port", str(self._port)])
        self.workers: list[Member] = []
        self.sinks: list[Member] = []
        self.sensors: list[PipedSensor] = []

    @property
    def clickhouse_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, workers: int, sinks: int) -> None:
        self.kafka.start()
        apply_topics(self.kafka.bootstrap, PARTITIONS)
        self.store.start()
        wait_for_line(self.store.child, "ready", 60)
        command = footfall("schema", "apply", "--clickhouse", self.clickhouse_url, "--config", self._config)
        schema = Child("schema", command, self.directory / "schema.log", self._environ)
        schema.start()
        assert schema.process is not None
        assert schema.process.wait(60) == 0, schema.tail()
        for _ in range(workers):
            self.add_worker()
        for _ in range(sinks):
            self.add_sink()

    def add_worker(self) -> None:
        options = ["--config", str(self._config), "--bootstrap", self.kafka.bootstrap, "--metrics-port", "0"]
        self.workers.append(self._member("worker", [*self._footfall, "stream", *options]))
        self.workers[-1].start()

    def add_sink(self) -> None:
        options = ["--clickhouse", self.clickhouse_url, "--bootstrap", self.kafka.bootstrap, "--metrics-port", "0"]
        self.sinks.append(self._member("sink", [*self._footfall, "sink", *options]))
        self.sinks[-1].start()

    def add_sensor(self, store_id: str, capture: Path, key_file: Path) -> None:
        name = capture.stem
        options: list[str | Path] = ["--config", self._config, "--store", store_id, "--sensor", name]
        options += ["--stdin", "--key-file", key_file]
        command = footfall("collect", *options, "--metrics-port", "0", "--spool", self.directory / f"spool-{name}")
        environ = {**self._environ, "FOOTFALL_BOOTSTRAP": self.kafka.bootstrap}
        log = self.directory / f"collect-{name}.log"
        self.sensors.append(PipedSensor(name, command, log, environ, capture))

    def _member(self, name: str, command: list[str]) -> Member:
        self._made += 1
        return Member(name, command, self.directory / f"{name}-{self._made}.log", self._environ)

    def members(self) -> Iterator[Member]:
        yield from (self.store, *self.workers, *self.sinks)

    def supervise(self) -> None:
        """Start again whatever has ended by itself."""
        for member in self.members():
            member.supervise()
        for sensor in self.sensors:
            if not sensor.held and not sensor.runs:
                sensor.start()

    def calm(self) -> None:
        """The end of all faults: everything runs, nothing is frozen."""
        for member in self.members():
            member.send(signal.SIGCONT)
            member.held = False
        for sensor in self.sensors:
            sensor.send(signal.SIGCONT)
        self.supervise()

    def stop(self) -> None:
        for sensor in self.sensors:
            sensor.kill()
        for member in (*self.workers, *self.sinks, self.store):
            member.end()
        self.kafka.kill()


def broker_signal(kafka: EmbeddedKafka, number: signal.Signals) -> None:
    """Freeze or thaw the broker: to its clients the network stalls."""
    if kafka.child.process is not None and kafka.child.exit_code() is None:
        os.kill(kafka.child.process.pid, number)
