"""The embedded stack: Kafka, ClickHouse's engine, a worker and a sink as child processes of this one."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.topics import SIGHTINGS
from rich.console import Console

from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.drained import end_offsets, sink_lag, stream_lag, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall
from footfall_cli.progress import bar, countdown
from footfall_cli.topics import apply_topics

_PARTITIONS = 8
_MAX_RESTARTS = 10


class Stack:
    """Everything of one run below one directory, on free loopback ports.

    The worker and the sink are started again when they end by themselves: that is how they recover.
    """

    def __init__(self, directory: Path, config: Path, data: Path | None = None) -> None:
        self.directory = directory
        self.config = config
        inherited = dict(os.environ)  # noqa: TID251  children inherit the command's environment
        inherited.pop("FOOTFALL_CONFIG", None)
        self._environ = {**inherited, "TMPDIR": str(directory)}
        self.kafka = EmbeddedKafka(directory)
        self.clickhouse_port = free_port()
        self.worker_metrics = free_port()
        self._data = data or directory / "clickhouse"
        self._collectors: list[Child] = []
        self.restarts = 0
        self._database = self._child("clickhouse", self._python("footfall_cli.embedded_clickhouse", self._data))
        stream = ("stream", "--config", config, "--bootstrap", self.kafka.bootstrap)
        self.worker = self._child("stream", footfall(*stream, "--metrics-port", str(self.worker_metrics)))
        sink = ("sink", "--clickhouse", self.clickhouse_url, "--bootstrap", self.kafka.bootstrap)
        self.sink = self._child("sink", footfall(*sink, "--metrics-port", "0"))

    @property
    def clickhouse_url(self) -> str:
        return f"http://127.0.0.1:{self.clickhouse_port}"

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self.directory / f"{name}.log", self._environ)

    def _python(self, module: str, data: Path) -> list[str]:
        python = footfall()[0]
        return [python, "-m", module, "--data", str(data), "--port", str(self.clickhouse_port)]

    def start(self) -> None:
        """Start all of it; raises ConfigError or FootfallError with the reason and the log's tail."""
        self._database.start()
        self.kafka.start()
        apply_topics(self.kafka.bootstrap, _PARTITIONS)
        wait_for_line(self._database, "ready", 60)
        schema = footfall("schema", "apply", "--clickhouse", self.clickhouse_url, "--config", self.config)
        self.run_child(self._child("schema", schema))
        self.worker.start()
        self.sink.start()

    def run_child(self, child: Child) -> None:
        """Run a child to its end; raises ConfigError for exit code 2, FootfallError for any other but 0."""
        child.start()
        while child.exit_code() is None:
            time.sleep(0.05)
        self._judge(child)

    @staticmethod
    def _judge(child: Child) -> None:
        if child.exit_code() == 2:
            raise ConfigError(
                [f"{child.name}: {line.removeprefix('footfall: ')}" for line in child.tail().splitlines()]
            )
        if child.exit_code():
            raise BrokerUnavailable(f"{child.name} ended with {child.exit_code()}:\n{child.tail()}")

    def collect(self, name: str, arguments: Sequence[str | Path]) -> Child:
        """Start one `footfall collect` with these options and the stack's Kafka and configuration."""
        common = ("--config", self.config, "--bootstrap", self.kafka.bootstrap, "--metrics-port", "0")
        child = self._child(f"collect-{name}", footfall("collect", *common, *arguments))
        self._collectors.append(child)
        child.start()
        return child

    def supervise(self) -> None:
        """Start again what ended by itself; raises once that happens too often, or for a configuration error."""
        for child in (self.worker, self.sink):
            code = child.exit_code()
            if code is None:
                continue
            if code == 2 or self.restarts >= _MAX_RESTARTS:
                self._judge(child)
                raise BrokerUnavailable(f"{child.name} keeps ending:\n{child.tail()}")
            self.restarts += 1
            child.start()

    def wait_for(self, collectors: Sequence[Child], console: Console) -> None:
        """Until the collectors have sent everything; their exit codes stay for the caller."""
        with bar(console, "batches collected") as show:
            while any(child.exit_code() is None for child in collectors):
                self.supervise()
                show(sum(end_offsets(self.kafka.bootstrap, SIGHTINGS.name).values()), None)
                time.sleep(0.2)

    def drain(self, console: Console, wait_s: float = 120.0) -> None:
        """Until everything sent is in ClickHouse; raises BrokerUnavailable once nothing moves for `wait_s`."""
        for text, lag in (("batches into visits", stream_lag), ("messages into ClickHouse", sink_lag)):
            with countdown(console, text) as show:
                wait_until_zero(partial(lag, self.kafka.bootstrap), self.supervise, wait_s, show)

    def worker_counter(self, name: str) -> int:
        """One counter of the worker's /metrics, summed over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.worker_metrics}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name))

    def stop(self) -> None:
        """End every child, readers first."""
        for child in (*self._collectors, self.worker, self.sink, self._database):
            child.stop()
        self.kafka.kill()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def running(config: Path, console: Console, data: Path | None = None, directory: Path | None = None) -> Iterator[Stack]:
    """A started stack in a directory of its own; ended, whatever happens, when the block ends."""
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="footfall-", ignore_cleanup_errors=True) as temporary:
        stack = Stack(directory or Path(temporary), config, data)
        try:
            with console.status("starting Kafka, ClickHouse, the worker and the sink"):
                stack.start()
            yield stack
        finally:
            stack.stop()
