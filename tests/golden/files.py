"""The golden files: where they lie, how they are read and written."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from footfall_collectors.pseudonyms import EpochKey
from footfall_events.sighting_batches import decode_sightings
from footfall_events.stores import ChainConfig, load_chain
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS

from tests.golden.stages import Topics, key_of

HERE = Path(__file__).parent
TOPICS = (SIGHTINGS.name, SENSOR_MINUTES.name, VISITS.name, STORE_MINUTES.name)


def golden_chain() -> ChainConfig:
    return load_chain(HERE / "chain.toml")


def golden_key() -> EpochKey:
    return key_of((HERE / "test-key.toml").read_text(encoding="utf-8"))


def golden_captures() -> dict[str, bytes]:
    """Each sensor's capture."""
    return {sensor: (HERE / f"{sensor}.pcap").read_bytes() for sensor in ("door", "till")}


def golden_messages(topic: str, directory: Path = HERE) -> list[bytes]:
    """The topic's values, in the order of the log."""
    return [gzip.decompress(path.read_bytes()) for path in sorted((directory / topic).iterdir())]


def write(directory: Path, captures: dict[str, bytes], topics: Topics) -> None:
    """Replace every capture and message there; the same bytes for the same contents."""
    for sensor, capture in captures.items():
        (directory / f"{sensor}.pcap").write_bytes(capture)
    for topic, values in topics.items():
        shutil.rmtree(directory / topic, ignore_errors=True)
        (directory / topic).mkdir(parents=True)
        for offset, value in enumerate(values):
            name = f"{offset:02d}{_sensor_of(topic, value)}.arrow.gz"
            (directory / topic / name).write_bytes(gzip.compress(value, mtime=0))


def _sensor_of(topic: str, value: bytes) -> str:
    """The sensor that sent a batch, for its file's name."""
    return f"-{decode_sightings(value)[0].sensor_id}" if topic == SIGHTINGS.name else ""
