"""A simulated day through the real pipeline, its parts killed on the way: the oracle's tables, row by row."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from footfall_cli.drained import checkpointed, stream_lag, wait_until_zero
from footfall_cli.main import main
from footfall_cli.queries import query
from footfall_cli.simulator import SimulatedChain, simulate
from footfall_cli.stack import Stack, running
from rich.console import Console

from tests.oracle.pseudonyms import pseudonyms
from tests.pipeline.tables import HEARTBEAT_S, Wanted, found_differences

pytestmark = [pytest.mark.broker, pytest.mark.tshark]

DAY = date(2026, 3, 7)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> SimulatedChain:
    return simulate(tmp_path_factory.mktemp("chain"), stores=1, days=1, seed=7, start=DAY, visitors_per_day=150)


@pytest.fixture
def key_file(chain: SimulatedChain, tmp_path: Path) -> Path:
    path = tmp_path / "key.toml"
    init = ("keys", "init", "--config", str(chain.config), "--key-file", str(path), "--from-date", str(DAY))
    assert main(init) == 0
    return path


def _wanted(chain: SimulatedChain, key_file: Path) -> Wanted:
    stores = {store["id"]: store for store in tomllib.loads(chain.config.read_text())["stores"]}
    key = tomllib.loads(key_file.read_text())
    wanted = Wanted(named=True)
    for store_id, paths in chain.captures.items():
        captures = {path.stem: path for path in paths}
        wanted.add(captures, stores[store_id], pseudonyms(key, store_id))
    return wanted


def _collect(stack: Stack, chain: SimulatedChain, key_file: Path) -> None:
    for store_id, paths in chain.captures.items():
        arguments: list[str | Path] = ["--store", store_id, "--key-file", key_file, "--heartbeat-s", str(HEARTBEAT_S)]
        for path in paths:
            arguments += ["--pcap", path]
        stack.wait_for([stack.collect(store_id, arguments)], Console(stderr=True))


def _until_processed(stack: Stack, messages: int) -> None:
    """Wait until so many messages are in the checkpoints; there must be more, or a kill would come too late."""
    done: Callable[[], int] = lambda: sum(checkpointed(stack.kafka.bootstrap).values())  # noqa: E731
    wait_until_zero(lambda: max(0, messages - done()), stack.supervise, 60)
    assert stream_lag(stack.kafka.bootstrap) > 0


def test_a_killed_worker_sink_and_broker_change_no_row(
    chain: SimulatedChain, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small steps and inserts, so that every kill comes between some of them.
    for name, value in (("CHUNK_MESSAGES", "4"), ("SINK_ROWS", "50"), ("SESSION_TIMEOUT_S", "6")):
        monkeypatch.setenv(f"FOOTFALL_{name}", value)
    with running(chain.config, Console(stderr=True), directory=tmp_path) as stack:
        _collect(stack, chain, key_file)
        _until_processed(stack, 100)
        stack.worker.kill()
        _until_processed(stack, 400)
        stack.sink.kill()
        stack.kafka.kill()
        stack.kafka.start()
        stack.drain(Console(stderr=True))
        assert found_differences(_wanted(chain, key_file), partial(query, stack.clickhouse_url)) == ""
        assert stack.restarts >= 2
