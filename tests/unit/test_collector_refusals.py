"""What a collector refuses to begin with, in words and with exit code 2, and what its spool settings are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from footfall_cli.main import footfall, main
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.pseudonyms import load_key
from footfall_collectors.settings import CollectorSettings, bootstrap_problem
from footfall_collectors.spool import Bounds, Spool
from footfall_events.errors import ConfigError
from footfall_events.stores import PrivacyPolicy, load_chain
from prometheus_client import CollectorRegistry

from tests.unit.collector_runs import pcap, probe

YEAR_3000_MS = 32_503_680_000_000


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Settings with which a pipe would run."""
    config, key = tmp_path / "chain.toml", tmp_path / "key.toml"
    config.write_text('[[stores]]\nid = "s"\nsensors = ["door"]\n')
    assert main(["keys", "init", "--config", str(config), "--key-file", str(key), "--from-date", "2023-11-01"]) == 0
    return {
        "FOOTFALL_CONFIG": str(config),
        "FOOTFALL_STORE": "s",
        "FOOTFALL_SENSOR": "door",
        "FOOTFALL_KEY_FILE": str(key),
        "FOOTFALL_BOOTSTRAP": "127.0.0.1:9",
        "FOOTFALL_METRICS_PORT": "0",
    }


def environ_of(given: dict[str, str]) -> dict[str, str]:
    """The settings, and nothing else of ours that whoever runs the tests has set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}  # noqa: TID251  inherited
    return {**inherited, **given}


def said(given: dict[str, str], *arguments: str | Path) -> str:
    """Standard error of a run that ends with 2, without a traceback."""
    done = subprocess.run(
        footfall("collect", *arguments),
        env=environ_of(given),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_report_that_is_a_directory(tmp_path: Path, given: dict[str, str]) -> None:
    assert said(given, "--stdin", "--report", tmp_path) == f"footfall: --report {tmp_path}: Is a directory\n"


def test_a_metrics_host_that_is_no_name(given: dict[str, str]) -> None:
    assert "footfall: metrics host 'a..b': no name of a host" in said(given, "--stdin", "--metrics-host", "a..b")


def test_a_standard_input_that_is_closed(given: dict[str, str]) -> None:
    shell = 'exec "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *footfall("collect", "--stdin")],
        env=environ_of(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (2, "footfall: --stdin: standard input is closed\n")


def test_an_interface_that_is_not_there_is_refused_before_anything_else_is_begun(given: dict[str, str]) -> None:
    (line,) = said(given, "--interface", "no-such-radio").splitlines()
    assert line.startswith("footfall: interface no-such-radio: ")


def test_a_clock_behind_the_last_batch_is_refused_unless_it_is_trusted(tmp_path: Path, given: dict[str, str]) -> None:
    spool = Spool(tmp_path / "spool", Bounds(10**6, 10**6), CollectorMetrics(CollectorRegistry()), print)
    spool.append("t", b"s", b"", YEAR_3000_MS, "door")
    spool.close()
    more = ("--interface", "no-such-radio", "--spool", tmp_path / "spool")
    assert "and the last batch bears 3000-01-01T00:00:00Z: set the clock" in said(given, *more)
    assert said(given, *more, "--trust-clock").startswith("footfall: interface no-such-radio: ")


@pytest.mark.parametrize(
    ("bootstrap", "is_right"),
    [
        pytest.param("kafka:9092", True, id="a name"),
        pytest.param("a:1,b:65535 , 10.0.0.1:9092", True, id="several"),
        pytest.param("kafka", True, id="without a port: the client takes 9092"),
        pytest.param("[::1]:9092", True, id="IPv6"),
        pytest.param("SASL_SSL://kafka-1.example.com:9093", True, id="with a protocol"),
        pytest.param(",,,", False, id="only commas"),
        pytest.param(" ", False, id="a blank"),
        pytest.param("kafka:99999999", False, id="a port beyond all"),
        pytest.param("kafka:65536", False, id="the first port that is none"),
        pytest.param("kafka:0", False, id="port 0"),
        pytest.param("a:1,b:x", False, id="a port that is no number"),
        pytest.param("http://kafka:9092/path", False, id="a path"),
    ],
)
def test_kafkas_addresses(bootstrap: str, is_right: bool) -> None:
    assert bool(bootstrap_problem(bootstrap)) is not is_right


def test_addresses_that_cannot_be_are_a_configuration_error(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="FOOTFALL_BOOTSTRAP is ',,,': give HOST:PORT"):
        CollectorSettings.from_mapping(
            {**given, "FOOTFALL_STDIN": "1", "FOOTFALL_BOOTSTRAP": ",,,"}, [], throwaway=False
        )


def test_a_capture_with_a_name_that_is_too_long(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="File name too long"):
        CollectorSettings.from_mapping(given, ["x" * 300], throwaway=False)


PRIVACY = PrivacyPolicy()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("epoch = 1" + "0" * 5_000, id="a number beyond Python's limit"),
        pytest.param("epoch = " + "[" * 100_000, id="a nesting beyond Python's limit"),
    ],
)
def test_a_key_file_that_no_reader_takes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a key file: make one with `footfall keys init`"):
        load_key(path, PRIVACY)


def test_a_key_made_for_true_days_is_not_one_for_a_day(given: dict[str, str]) -> None:
    path = Path(given["FOOTFALL_KEY_FILE"])
    path.write_text(path.read_text().replace("days = 1", "days = true"))
    with pytest.raises(ConfigError, match="made for days True, configured is 1"):
        load_key(path, load_chain(Path(given["FOOTFALL_CONFIG"])).privacy)


def test_a_spool_has_bounds_also_if_none_are_given(given: dict[str, str]) -> None:
    pipe = {**given, "FOOTFALL_STDIN": "true", "FOOTFALL_SPOOL": "/spool"}
    settings = CollectorSettings.from_mapping(pipe, [], throwaway=False)
    assert (settings.spool, settings.spool_bounds) == (Path("/spool"), Bounds(256_000_000, 72 * 3_600_000))
    narrow = {**pipe, "FOOTFALL_SPOOL_MB": "5", "FOOTFALL_SPOOL_HOURS": "1.5"}
    settings = CollectorSettings.from_mapping(narrow, [], throwaway=False)
    assert settings.spool_bounds == Bounds(5_000_000, 5_400_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOOTFALL_SPOOL_MB", "0"),
        ("FOOTFALL_SPOOL_MB", "1.5"),
        ("FOOTFALL_SPOOL_HOURS", "0"),
        ("FOOTFALL_SPOOL_HOURS", "x"),
    ],
)
def test_bounds_that_cannot_be(given: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}|{name} is '{value}'"):
        CollectorSettings.from_mapping({**given, "FOOTFALL_STDIN": "true", name: value}, [], throwaway=False)


def test_captures_are_a_spool_of_their_own(tmp_path: Path, given: dict[str, str]) -> None:
    (tmp_path / "door.pcap").write_bytes(pcap([(1_700_000_000_000, probe("00:1b:2f:00:00:01"))]))
    values = {**given, "FOOTFALL_SPOOL": str(tmp_path / "spool"), "FOOTFALL_SENSOR": ""}
    settings = CollectorSettings.from_mapping(values, [str(tmp_path / "door.pcap")], throwaway=False)
    assert settings.spool is None
