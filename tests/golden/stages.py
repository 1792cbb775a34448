"""The golden story through the collector and through the job, without Kafka: what each topic gets, in order."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Mapping, Sequence

from footfall_collectors.pseudonyms import EpochKey, Pseudonyms
from footfall_collectors.session import Batching, Output, SensorSession
from footfall_collectors.sources.pcap import blocks
from footfall_events.rows import encode_rows
from footfall_events.sighting_batches import decode_sightings, encode_sightings
from footfall_events.stores import ChainConfig
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.step import Step

from tests.unit.collector_runs import run_blocks

STORE_ID = "corner"
Topics = dict[str, list[bytes]]
"""Message values by topic, in the order of the log."""


def key_of(document: str) -> EpochKey:
    """The key in a key file's text; a file in a repository cannot be private, so `load_key` would refuse it."""
    found = tomllib.loads(document)
    return EpochKey(found["epoch"], bytes.fromhex(found["key"]))


def collected(captures: Mapping[str, bytes], chain: ChainConfig, key: EpochKey) -> Topics:
    """What the sensors send: the door as it hears, the till all at once when its link is back, then the end.

    As in a replay, the sensor that was heard last closes the store.
    """
    sent: Topics = {SIGHTINGS.name: [], SENSOR_MINUTES.name: []}
    sessions = {sensor: _session(sensor, chain, key) for sensor in chain.stores[STORE_ID].sensors}
    outputs: list[Output] = []
    for sensor, session in sessions.items():
        outputs += run_blocks(list(blocks(io.BytesIO(captures[sensor]), sensor)), session)
    last = max((output.header for output in outputs if output.header), key=lambda header: header.sensor_clock_ms)
    for output in [*outputs, sessions[last.sensor_id].final(last.sensor_clock_ms)]:
        if output.header is None:
            sent[SENSOR_MINUTES.name].append(encode_rows(output.rows))
        else:
            sent[SIGHTINGS.name].append(encode_sightings(output.header, output.rows))
    return sent


def _session(sensor: str, chain: ChainConfig, key: EpochKey) -> SensorSession:
    pseudonyms = Pseudonyms(key, chain.privacy.scope, STORE_ID)
    return SensorSession(chain.stores[STORE_ID], chain.privacy, sensor, f"golden-{sensor}", pseudonyms, Batching())


def log_of(sightings: Sequence[bytes]) -> list[Message]:
    """The batches as the log holds them; the broker's clock is the newest sensor clock so far."""
    log: list[Message] = []
    appended_ms = 0
    for offset, value in enumerate(sightings):
        appended_ms = max(appended_ms, decode_sightings(value)[0].sensor_clock_ms)
        log.append(Message(0, offset, STORE_ID.encode(), value, appended_ms))
    return log


def steps(log: Sequence[Message], chain: ChainConfig) -> list[Step]:
    """The worker's two steps: before the till is heard of, and from its first batch on."""
    first = next(place for place, one in enumerate(log) if decode_sightings(one.value)[0].sensor_id == "till")
    job = StoreJob(chain, lambda key: 0)
    return [job.take(log[:first]), job.take(log[first:])]


def published(done: Sequence[Step]) -> Topics:
    """What the steps send. Nothing else: a dead letter would be a topic of its own."""
    sent: Topics = {VISITS.name: [], STORE_MINUTES.name: []}
    for step in done:
        for output in step.outputs[0]:
            sent.setdefault(output.topic, []).append(output.value)
    return sent
