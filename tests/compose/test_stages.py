"""The stages run from docker-compose.yml, as its containers would: on the air, in Kafka, in ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from footfall_cli.drained import read_all
from footfall_events.sighting_batches import decode_sightings
from footfall_events.topics import SIGHTINGS
from footfall_sinks.clickhouse import open_client

from tests.compose.compose_file import Service
from tests.compose.plain_processes import Place, Running, wait_until
from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import pcap, probe

pytestmark = [pytest.mark.broker, pytest.mark.radio]

FRAMES = [probe(f"00:1c:b3:00:00:{n:02x}", -50 - n) for n in range(20)]


def test_what_runs_at_every_start_changes_nothing_the_second_time(place: Place, composed: dict[str, Service]) -> None:
    key = place.path(composed["keys"], "/var/lib/footfall/key.toml")
    before = key.read_bytes()
    for name in ("topics", "schema", "keys"):
        place.run_once(name)
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    """An ordinary client of the store."""
    with closing(open_client(f"http://{place.addresses['clickhouse:8123']}")) as connected:
        yield connected


def test_frames_on_the_air_are_in_kafka_and_counted_by_the_worker(
    stages: dict[str, Running], radio: VirtualRadio, place: Place
) -> None:
    collector, worker = stages["collector"], stages["stream"]
    # Its first batch says that the radio's socket listens.
    wait_until(lambda: collector.count("footfall_collector_clock_timestamp_seconds") > 0, "a first batch")
    heard = collector.count("footfall_collector_frames_total")
    folded = worker.count("footfall_streams_sightings_total") + len(FRAMES)
    for frame in FRAMES:
        radio.transmit(frame)
    wait_until(lambda: worker.count("footfall_streams_sightings_total") >= folded, "the sightings folded in")
    assert collector.count("footfall_collector_frames_total") == heard + len(FRAMES)
    log = read_all(place.addresses["kafka:9092"], SIGHTINGS.name)
    batches = [decode_sightings(message.value or b"") for message in log]
    assert sum(rows.num_rows for header, rows in batches if header.store_id == "north") == len(FRAMES)


def test_a_capture_given_to_the_collectors_image_is_in_clickhouse(
    stages: dict[str, Running], place: Place, client: Client, tmp_path: Path
) -> None:
    start_ms = int((datetime.now(UTC) - timedelta(minutes=30)).timestamp() * 1000)
    frames = [(start_ms + minute * 60_000, frame) for minute in (0, 8) for frame in FRAMES]
    capture = tmp_path / "harbour.pcap"
    capture.write_bytes(pcap(frames))
    environ = {"FOOTFALL_STORE": "harbour", "FOOTFALL_SENSOR": "", "FOOTFALL_INTERFACE": ""}
    metrics = {"FOOTFALL_METRICS_HOST": "127.0.0.1", "FOOTFALL_METRICS_PORT": "0"}
    place.run_once("collector", ["collect", "--pcap", f"harbour-1={capture}"], {**environ, **metrics})

    def harbour(query: str) -> int:
        return int(client.query(f"SELECT {query} WHERE store_id = 'harbour'").result_rows[0][0])

    wait_until(lambda: harbour("sum(sightings) FROM footfall.visits") == len(frames), "every sighting in a visit")
    wait_until(lambda: harbour("sum(frames) FROM footfall.sensor_minutes") == len(frames), "every frame in a minute")
    wait_until(lambda: harbour("countIf(is_final) FROM footfall.store_minutes") > 0, "the store's minutes")
    assert harbour("uniqExact(device_id) FROM footfall.visits") == len(FRAMES)
    assert stages["sink"].count("footfall_sinks_rows_total") > 0
