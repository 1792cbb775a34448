"""The golden messages are of the contract as it stands, few, small, and rebuilt by one command."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from footfall_events import schemas
from footfall_events.sighting_batches import decode_sightings
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS

from tests.golden.decoded import decoded, fields_of
from tests.golden.files import HERE, TOPICS, golden_chain, golden_messages
from tests.golden.regenerate import regenerate

SCHEMAS = {
    SIGHTINGS.name: schemas.SIGHTINGS,
    SENSOR_MINUTES.name: schemas.SENSOR_MINUTES,
    VISITS.name: schemas.VISITS,
    STORE_MINUTES.name: schemas.STORE_MINUTES,
}


@pytest.mark.parametrize("topic", TOPICS)
def test_names_types_and_nullability_are_those_of_the_contract(topic: str) -> None:
    for value in golden_messages(topic):
        assert fields_of(pa.ipc.open_stream(value).schema) == fields_of(SCHEMAS[topic])


def test_the_headers_of_each_sensor_are_in_sequence_and_only_the_last_of_all_is_final() -> None:
    headers = [decode_sightings(value)[0] for value in golden_messages(SIGHTINGS.name)]
    assert {header.store_id for header in headers} == {*golden_chain().stores}
    for sensor in golden_chain().stores["corner"].sensors:
        mine = [header for header in headers if header.sensor_id == sensor]
        assert [header.batch_seq for header in mine] == list(range(len(mine)))
        assert sorted(mine, key=lambda header: header.sensor_clock_ms) == mine
    assert [header.final for header in headers] == [False] * (len(headers) - 1) + [True]


def test_one_command_tells_the_story_anew_to_the_same_end(tmp_path: Path) -> None:
    regenerate(tmp_path)
    for topic in TOPICS:
        assert sorted(path.name for path in (tmp_path / topic).iterdir()) == sorted(
            path.name for path in (HERE / topic).iterdir()
        )
        anew = golden_messages(topic, tmp_path)
        assert [decoded(value) for value in anew] == [decoded(value) for value in golden_messages(topic)]


def test_the_golden_files_stay_small() -> None:
    sizes = {path: path.stat().st_size for path in HERE.rglob("*") if path.suffix in (".gz", ".pcap")}
    assert max(sizes.values()) < 5_000
    assert sum(sizes.values()) < 150_000


def test_the_key_says_that_it_is_for_tests_only() -> None:
    text = (HERE / "test-key.toml").read_text(encoding="utf-8")
    assert text.startswith("# TEST KEY")
    key = re.search('key = "([0-9a-f]{64})"', text)
    assert key
    assert bytes.fromhex(key[1]).decode().strip() == "test key of the golden story"
