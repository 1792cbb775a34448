"""The stages run from docker-compose.yml, as its containers would: on the air, in Kafka, in ClickHouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from footfall_cli.children import free_port
from footfall_cli.drained import read_all
from footfall_events.sighting_batches import decode_sightings
from footfall_events.topics import SIGHTINGS

from tests.compose.compose_file import Service
from tests.compose.harbour import Harbour
from tests.compose.plain_processes import Place, Running, wait_until
from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import probe

pytestmark = [pytest.mark.broker, pytest.mark.radio]

FRAMES = [probe(f"00:1c:b3:00:00:{n:02x}", -50 - n) for n in range(20)]


def test_what_runs_at_every_start_changes_nothing_the_second_time(place: Place, composed: dict[str, Service]) -> None:
    key = place.path(composed["keys"], "/var/lib/footfall/key.toml")
    before = key.read_bytes()
    for name in ("topics", "schema", "keys"):
        place.run_once(name)
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600


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


def test_a_capture_given_to_the_collectors_image_is_in_clickhouse(stages: dict[str, Running], harbour: Harbour) -> None:
    wait_until(lambda: harbour.asks("countIf(is_final) FROM footfall.store_minutes") > 0, "the store's minutes")
    assert harbour.asks("uniqExact(device_id) FROM footfall.visits") == harbour.devices
    assert stages["sink"].count("footfall_sinks_rows_total") > 0


def test_a_calibrated_stores_people_are_in_clickhouse_and_on_the_gauges(estimates: Running, harbour: Harbour) -> None:
    wait_until(lambda: estimates.count("footfall_estimates_window_timestamp_seconds") > 0, "a window")
    newest = harbour.asks("max(toUnixTimestamp(window_start)) FROM footfall.occupancy_5min")
    assert estimates.count("footfall_estimates_window_timestamp_seconds") == newest
    for end in ("_lo", "", "_hi"):
        row = harbour.asks(f"argMax(occupancy_estimate{end}, window_start) FROM footfall.occupancy_5min")
        assert estimates.count(f"footfall_estimates_occupancy{end}") == pytest.approx(row)


def test_the_estimates_end_with_1_without_clickhouse_so_that_they_are_started_again(
    composed: dict[str, Service], tmp_path: Path
) -> None:
    away = Place(tmp_path, composed, {"clickhouse:8123": f"127.0.0.1:{free_port()}"})
    child = away.start("estimates").child
    wait_until(lambda: child.exit_code() is not None, "its end")
    assert child.exit_code() == 1, child.tail()
