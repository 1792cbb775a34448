"""Apache Kafka itself as child processes: KRaft nodes on loopback, from jars and a Java runtime of pip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from footfall_cli.children import Child
from footfall_cli.kafka_node import ENVIRON, Door, Plan, command, new_plan, prepare, wait_until_answering, why_it_ended


class EmbeddedKafka:
    """One broker with its log directory. It may be killed and started again: the log stays."""

    def __init__(
        self, directory: Path, port: int | None = None, doors: Sequence[Door] = (), plan: Plan | None = None
    ) -> None:
        """A broker of its own, or the node of a larger `plan` that lives in `directory`."""
        self._plan = plan or new_plan([directory], port, doors)
        (self._node,) = (node for node in self._plan.nodes if node.directory == directory)
        self.port = self._node.port
        self.child = Child(f"kafka-{self._node.number}", command(self._node), self._node.log, ENVIRON)

    @property
    def bootstrap(self) -> str:
        return self._node.address

    def start(self, wait_s: float = 60.0) -> None:
        """Format the log directory the first time, start, and wait until the broker answers."""
        self.launch()
        self.wait(wait_s)

    def launch(self) -> None:
        """Start without waiting: a broker of several answers only once most of them run."""
        prepare(self._plan, self._node)
        self.child.start()

    def wait(self, wait_s: float) -> None:
        """Until the broker answers; raises TimeoutError with what its log says of the reason."""
        try:
            wait_until_answering(self._plan, [self._node], self._check, wait_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{why_it_ended(self._node)}") from error

    def _check(self) -> None:
        if self.child.exit_code() is not None:
            raise TimeoutError("Kafka did not start")

    def kill(self) -> None:
        self.child.kill()

    def stop(self) -> None:
        self.child.stop()


class EmbeddedCluster:
    """Several brokers, each a child of its own; `brokers` by their number, from 1 on."""

    def __init__(self, directory: Path, brokers: int = 3) -> None:
        directories = [directory / f"broker-{number}" for number in range(1, brokers + 1)]
        plan = new_plan(directories)
        self.bootstrap = plan.bootstrap
        self.brokers = {node.number: EmbeddedKafka(node.directory, plan=plan) for node in plan.nodes}

    def start(self, number: int | None = None, wait_s: float = 90.0) -> None:
        """Start one broker, or all of them, and wait until each of these answers."""
        starting = self.brokers.values() if number is None else [self.brokers[number]]
        for broker in starting:
            broker.launch()
        for broker in starting:
            broker.wait(wait_s)

    def kill(self, number: int | None = None) -> None:
        """SIGKILL one broker, or all of them."""
        for broker in self.brokers.values() if number is None else [self.brokers[number]]:
            broker.kill()
