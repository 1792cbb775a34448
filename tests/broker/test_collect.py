"""`footfall collect` as a process: a pipe into real Kafka, a signal that ends it, and what it refuses to begin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from footfall_cli.children import free_port
from footfall_cli.drained import read_all, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall, main
from footfall_cli.topics import apply_topics
from footfall_events.sighting_batches import decode_sightings
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.collector_runs import pcap, probe

CONFIG = """
[[stores]]
id = "s"
sensors = ["pipe", "a", "b"]
"""
START_MS = 1_700_000_000_000
FRAMES = [(START_MS + n * 1500, probe(f"00:1b:2f:00:00:{n % 7:02x}", -60)) for n in range(100)]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """The chain, its store and a key."""
    config, key = tmp_path / "chain.toml", tmp_path / "key.toml"
    config.write_text(CONFIG)
    assert main(["keys", "init", "--config", str(config), "--key-file", str(key), "--from-date", "2023-11-01"]) == 0
    return ["--config", str(config), "--store", "s", "--key-file", str(key)]


def collect(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, without standard input and without any FOOTFALL_ variable."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}  # noqa: TID251  inherited
    command = footfall("collect", *arguments)
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environ, timeout=60
    )


def counters(port: int) -> dict[str, float]:
    """The /metrics of a process, summed over labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        families = text_string_to_metric_families(reply.read().decode())
    return {family.name: sum(s.value for s in family.samples if s.name.endswith("_total")) for family in families}


def _nothing() -> None:
    return None


@pytest.mark.broker
def test_a_signal_ends_a_silent_pipe_and_everything_heard_is_in_kafka(
    tmp_path: Path, kafka: EmbeddedKafka, options: list[str]
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    port = free_port()
    report = tmp_path / "report.json"
    more = ["--stdin", "--sensor", "pipe", "--bootstrap", kafka.bootstrap, "--metrics-port", str(port)]
    command = footfall("collect", *options, *more, "--heartbeat-s", "5", "--report", report)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        # Cut within the last frame: whoever ends a pipe ends it somewhere.
        process.stdin.write(pcap([*FRAMES, FRAMES[0]])[:-5])
        process.stdin.flush()
        frames: Callable[[], int] = lambda: round(_or_zero(port))  # noqa: E731
        wait_until_zero(lambda: len(FRAMES) - frames(), _nothing, 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert b"cut off" not in process.stderr.read()
    batches = [decode_sightings(message.value or b"") for message in read_all(kafka.bootstrap, SIGHTINGS.name)]
    assert [header.batch_seq for header, _ in batches] == list(range(len(batches)))
    assert sum(rows.num_rows for _, rows in batches) == len(FRAMES)
    assert read_all(kafka.bootstrap, SENSOR_MINUTES.name)
    said = json.loads(report.read_text())
    assert (said["frames"], said["sightings"], said["batches"]) == (len(FRAMES), len(FRAMES), len(batches))


def _or_zero(port: int) -> float:
    """Frames counted so far; none while nobody answers yet."""
    try:
        return counters(port).get("footfall_collector_frames", 0)
    except OSError:
        return 0


@pytest.mark.broker
def test_a_file_that_is_no_capture_is_named_and_the_others_are_sent(
    tmp_path: Path, kafka: EmbeddedKafka, options: list[str]
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    (tmp_path / "a.pcap").write_bytes(pcap(FRAMES))
    (tmp_path / "b.pcap").write_bytes(b"PK\x03\x04")
    captures = ["--pcap", str(tmp_path / "a.pcap"), "--pcap", str(tmp_path / "b.pcap")]
    done = collect(*options, *captures, "--bootstrap", kafka.bootstrap, "--metrics-port", "0")
    assert done.returncode == 1
    assert "b.pcap: neither pcap nor pcapng" in done.stderr
    assert json.loads(done.stdout)["frames"] == len(FRAMES)
    *_, (header, _) = (decode_sightings(m.value or b"") for m in read_all(kafka.bootstrap, SIGHTINGS.name))
    assert header.final


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_in_use_is_a_configuration_error(tmp_path: Path, options: list[str], taken_port: int) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(FRAMES))
    done = collect(
        *options, "--pcap", tmp_path / "a.pcap", "--bootstrap", "127.0.0.1:9", "--metrics-port", str(taken_port)
    )
    assert done.returncode == 2
    assert f"metrics port {taken_port}: Address already in use" in done.stderr


def test_every_problem_of_the_settings_is_listed_and_nothing_is_started(options: list[str]) -> None:
    done = collect("--config", options[1], "--store", "x", "--stdin", "--interface", "mon0", "--heartbeat-s", "7")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "footfall: store 'x' is not in the configuration, only s",
        "footfall: give exactly one kind of source: --pcap FILE…, --stdin or --interface NAME",
        "footfall: --sensor is needed: the sensor that the pipe or the interface is",
        "footfall: no key: give --key-file (`footfall keys init` makes one), or --throwaway-key for captures",
        "footfall: FOOTFALL_HEARTBEAT_S is 7: must divide a minute, like 5, 10, 30 or 60",
        "footfall: FOOTFALL_BOOTSTRAP is not set",
    ]


def test_a_key_that_is_not_there_is_asked_for(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(FRAMES))
    Path(options[-1]).unlink()
    done = collect(*options, "--pcap", tmp_path / "a.pcap", "--bootstrap", "127.0.0.1:9", "--metrics-port", "0")
    assert done.returncode == 2
    assert "footfall keys init" in done.stderr


def test_a_report_that_could_not_be_written_is_refused_at_once(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(FRAMES))
    report = tmp_path / "none" / "report.json"
    done = collect(*options, "--pcap", tmp_path / "a.pcap", "--bootstrap", "127.0.0.1:9", "--report", report)
    assert done.returncode == 2
    assert "there is no directory" in done.stderr
