"""Six hours without an uplink, in event time: nothing changes in the end, and nothing is lost without a word."""

from __future__ import annotations

from random import Random

import pytest

from tests.property.worlds import SentBatch, Tables, chain, messages, run, world

HOUR_MS = 3_600_000
SEEDS = range(3)


def _delayed(batches: list[SentBatch], sensors: str, begin_ms: int, hours: float) -> list[SentBatch]:
    """The log if these sensors' batches of so many hours arrive when those are over, in order, before newer ones."""
    end_ms = begin_ms + int(hours * HOUR_MS)

    def arrives_ms(batch: SentBatch) -> int:
        is_late = batch.sensor in sensors and begin_ms <= batch.clock_ms < end_ms and not batch.final
        return end_ms if is_late else batch.clock_ms

    return sorted(batches, key=lambda batch: (batch.final, arrives_ms(batch)))


def _tables(batches: list[SentBatch]) -> Tables:
    return run(messages(batches), cuts=range(50, len(batches), 50))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sensors", ["a", "b", "ab"])
def test_an_outage_of_six_hours_changes_no_row_in_the_end(seed: int, sensors: str) -> None:
    batches = world(Random(seed), hours=12, sightings=400)
    late = _delayed(batches, sensors, batches[0].clock_ms + 3 * HOUR_MS, hours=6)
    assert sensors == "ab" or late != batches
    prompt, delayed = _tables(batches), _tables(late)
    assert delayed.visits(version=False) == prompt.visits(version=False)
    assert delayed.minutes(version=False) == prompt.minutes(version=False)
    assert delayed.dead == prompt.dead == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sensor_hours_behind_its_neighbour_revises_visits(seed: int) -> None:
    batches = world(Random(seed), hours=12, sightings=400)
    late = _delayed(batches, "b", batches[0].clock_ms + 3 * HOUR_MS, hours=6)
    until = next(number for number, batch in enumerate(late) if batch.clock_ms < late[number - 1].clock_ms and number)
    # Before its rows arrive the visits are those of its neighbour alone; with them they are everybody's.
    before = run(messages(late[:until])).visits(version=False)
    assert before != run(messages(late)).visits(version=False)[: len(before)]


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_from_behind_the_horizon_are_dead_letters_and_change_nothing(seed: int) -> None:
    batches = world(Random(seed), hours=12, sightings=400)
    horizon_h = 2
    begin_ms = batches[0].clock_ms + 3 * HOUR_MS
    late = _delayed(batches, "b", begin_ms, hours=6)
    config = chain(revision_horizon_s=horizon_h * 3600)
    log = messages(late)
    tables = run(log, config=config)
    behind = [
        sighting
        for batch in late
        for sighting in batch.sightings
        if batch.sensor == "b" and begin_ms <= batch.clock_ms < begin_ms + 3 * HOUR_MS
    ]
    assert behind
    assert tables.dead
    first = {row["first_seen_at"].timestamp() * 1000 for row in tables.visits()}
    lost = {sighting.observed_ms for sighting in behind if sighting.rssi_dbm is not None}
    kept = {one.observed_ms for batch in late for one in batch.sightings if one not in behind}
    assert not (lost - kept) & first
