"""The command line: every command explains itself with an example, and mistakes end with 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from footfall_cli.main import COMMANDS, main
from footfall_events import schemas

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "infra" / "chain.example.toml"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert re.search(rf"examples?:\n +footfall {command}\b", said)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_in_the_readme_of_the_command(command: str) -> None:
    assert re.search(rf"`(footfall )?{command}\b", (ROOT / "infra" / "README.md").read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no command"),
        pytest.param(["analyse"], id="an unknown command"),
        pytest.param(["demo", "--stores", "many"], id="a word for a number"),
        pytest.param(["topics"], id="an action left out"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


@pytest.mark.parametrize("topic", ["sightings.v1", "sensor_minutes.v1", "visits.v1", "store_minutes.v1"])
def test_what_the_columns_of_a_topic_mean_is_said_without_a_broker(
    topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["topics", "columns"]) == 0
    said = capsys.readouterr().out.split(f"{topic}: ")[1].split(".v1: ")[0]
    for column in schemas.DESCRIBED[topic]:
        assert re.search(rf"^  {column.name} +\S.* {re.escape(column.metadata[b'description'].decode())}$", said, re.M)


def test_a_good_configuration_is_confirmed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stores", "check", str(EXAMPLE)]) == 0
    assert "2 stores with 3 sensors" in capsys.readouterr().out


def test_every_problem_of_a_configuration_is_said_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "chain.toml"
    config.write_text('[[stores]]\nid = "a b"\ntime_zone = "Mars"\nsensors = []\n')
    assert main(["stores", "check", str(config)]) == 2
    places = re.findall(r"stores\[0\]\.\w+", capsys.readouterr().err)
    assert places == ["stores[0].id", "stores[0].sensors", "stores[0].time_zone"]
