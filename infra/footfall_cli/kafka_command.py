"""`footfall kafka start|stop|status`: the embedded brokers as processes that outlive the command."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from footfall_events.errors import BrokerUnavailable, ConfigError

from footfall_cli.kafka_node import (
    ENVIRON,
    Node,
    Plan,
    answers,
    command,
    new_plan,
    prepare,
    wait_until_answering,
    why_it_ended,
)
from footfall_cli.topics import missing_copies

_START_S, _STOP_S = 120.0, 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=["start", "stop", "status"],
        help="start: brokers that are not running, and wait until they answer. stop: end them, the data stays. "
        "status: each broker, and topics with copies missing; exit code 1 unless all is well",
    )
    parser.add_argument("--brokers", type=int, choices=[1, 3], metavar="1|3", help="how many; the first start decides")
    parser.add_argument(
        "--data", type=Path, default=Path(".footfall-kafka"), metavar="DIR", help="all they write (.footfall-kafka)"
    )
    parser.add_argument("--port", type=_port, metavar="PORT", help="of the first broker; the others follow")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    data = args.data.resolve()
    if args.action == "start":
        return _start(_planned(data, args.brokers, args.port), args.data)
    plan = _read(data)
    if plan is None:
        print(f"no brokers below {args.data}: start them with `footfall kafka start --data {args.data}`")
        return 0 if args.action == "stop" else 1
    return _stop(plan) if args.action == "stop" else _status(plan)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65_000:
        raise argparse.ArgumentTypeError(f"{text}: give a port from 1024 to 65000")
    return int(text)


def _start(plan: Plan, data: Path) -> int:
    starting = [node for node in plan.nodes if _pid(node) is None]
    for node in starting:
        prepare(plan, node)
        _launch(node)

    def check() -> None:
        for node in plan.nodes:
            if _pid(node) is None:
                raise BrokerUnavailable(f"broker {node.number} has ended; {node.log} says:\n{why_it_ended(node)}")

    try:
        wait_until_answering(plan, plan.nodes, check, _START_S)
    except TimeoutError as error:
        raise BrokerUnavailable(f"{error}; its log is below {data}") from error
    copies = len(plan.nodes)
    print(f"{copies} of {copies} brokers run, {len(starting)} of them started now: {plan.bootstrap}")
    print(f"next: footfall topics apply --bootstrap {plan.bootstrap} --replication {copies}")
    print(f"end:  footfall kafka stop --data {data}")
    return 0


def _stop(plan: Plan) -> int:
    """All at once: the last of three has no majority that it could take leave of."""
    pids = {node: pid for node in plan.nodes if (pid := _pid(node)) is not None}
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for node, pid in pids.items():
        while _pid(node) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
    for node in plan.nodes:
        _pid_file(node).unlink(missing_ok=True)
    print(f"{len(pids)} of {len(plan.nodes)} brokers ended; their data stays")
    return 0


def _status(plan: Plan) -> int:
    up = [node for node in plan.nodes if _pid(node) is not None and answers(plan, node)]
    for node in plan.nodes:
        pid = _pid(node)
        state = "up" if node in up else "down" if pid is None else "not answering"
        print(f"broker {node.number}  {node.address}  {'-' if pid is None else f'pid {pid}'}  {state}")
    missing = missing_copies(up[0].address) if up else []
    for line in missing:
        print(line)
    return 0 if len(up) == len(plan.nodes) and not missing else 1


def _planned(data: Path, brokers: int | None, port: int | None) -> Plan:
    """The cluster that lives below `data`, or a new one; raises ConfigError if it is another than asked for."""
    plan = _read(data)
    if plan is None:
        plan = new_plan([data / f"broker-{number}" for number in range(1, (brokers or 1) + 1)], port)
        _write(data, plan)
    remedy = "stop it and remove the directory, or give another --data"
    problems = []
    if brokers not in (None, len(plan.nodes)):
        problems.append(f"{data.name} holds a cluster of {len(plan.nodes)}, not of {brokers}: {remedy}")
    if port not in (None, plan.nodes[0].port):
        problems.append(f"{data.name} holds a cluster on port {plan.nodes[0].port}, not on {port}: {remedy}")
    if problems:
        raise ConfigError(problems)
    return plan


def _write(data: Path, plan: Plan) -> None:
    ports = [[node.port, node.controller_port] for node in plan.nodes]
    data.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"cluster_id": plan.cluster_id, "ports": ports})
    # Whole or not at all: the ports are all that tells a next start where the cluster is.
    part = data / "cluster.json.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(data / "cluster.json")


def _read(data: Path) -> Plan | None:
    try:
        found = json.loads((data / "cluster.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    nodes = [Node(n, data / f"broker-{n}", port, controller) for n, (port, controller) in enumerate(found["ports"], 1)]
    return Plan(found["cluster_id"], tuple(nodes))


def _launch(node: Node) -> None:
    with node.log.open("ab") as output:
        process = subprocess.Popen(
            command(node),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRON,
            cwd=node.directory,
            start_new_session=True,
        )
    _pid_file(node).write_text(f"{process.pid}\n", encoding="utf-8")
    # It is not ours to wait for: without this, Python warns that a process still runs when it forgets it.
    process.returncode = 0


def _pid_file(node: Node) -> Path:
    return node.directory / "kafka.pid"


def _pid(node: Node) -> int | None:
    """The process of the node's broker; None if it has ended, or if the number is another process's by now."""
    try:
        pid = int(_pid_file(node).read_text(encoding="utf-8"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(node.properties).encode() in words else None
