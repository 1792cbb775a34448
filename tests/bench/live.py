"""Sensors of 500 stores at their own pace: a batch a second and store, stamped with this machine's clock.

`python -m tests.bench.live BOOTSTRAP RATE SECONDS` sends RATE sightings a second in all, then a final batch of every
store, and prints one JSON object: sightings, stays, and how late the latest batch was in seconds. A device is heard
once a second, stays for 20 seconds and never comes back.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pyarrow as pa
from confluent_kafka import Producer
from footfall_events.producing import PRODUCER
from footfall_events.schemas import SIGHTINGS as SCHEMA
from footfall_events.schemas import AddressClass, FrameKind
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.topics import SIGHTINGS
from numpy.typing import NDArray

from tests.bench.processes import wall_s

STORES = 500
GAP_S, STAY_S = 20, 20
_SPAN_MS = 200


def store_id(number: int) -> str:
    return f"store-{number:04}"


def chain_toml() -> str:
    """The chain of these stores; gap and lateness are short, so that visits close while somebody watches."""
    rule = f'rule = {{ name = "bench", version = 1, gap_s = {GAP_S}, min_dwell_s = 5, engaged_s = 10 }}\n'
    return "\n".join(
        f'[[stores]]\nid = "{store_id(number)}"\nsensors = ["door"]\nallowed_lateness_s = 5\n{rule}'
        for number in range(STORES)
    )


class Sensor:
    """What one store's sensor hears: `devices` of them at any time."""

    def __init__(self, number: int, devices: int) -> None:
        self._number = number
        self._name = store_id(number)
        self._slots = np.arange(devices, dtype=np.int64)
        self._heard: set[int] = set()
        self.stays = 0
        self._seq = -1

    def message(self, second: int, clock_ms: int, final: bool = False) -> bytes:
        """The batch of the second that ends at the clock; the final one is empty."""
        self._seq += 1
        header = BatchHeader(self._name, "door", "boot-1", self._seq, clock_ms, 1, "bench", final=final)
        slots = self._slots[:0] if final else self._slots
        # Every slot changes its device after a stay, each at a moment of its own.
        stay = (second + slots) // STAY_S
        if not final:
            self.stays += int(((second + slots) % STAY_S == 0).sum()) if self._seq else len(slots)
        identity = (stay * STORES + self._number) * len(self._slots) + slots
        return encode_sightings(header, _batch(identity, clock_ms - 1000 + slots * 7 % (1000 - _SPAN_MS)))


def _batch(identity: NDArray[np.int64], observed_ms: NDArray[np.int64]) -> pa.RecordBatch:
    count = len(identity)
    columns = {
        "device_id": pa.array(identity.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)),
        "observed_at": pa.array(observed_ms, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
        "span_ms": pa.array(np.full(count, _SPAN_MS), pa.uint16()),
        "rssi_dbm": pa.array(-50 - identity % 30, pa.int8()),
        "frames": pa.array(np.full(count, 3), pa.uint16()),
        "freq_mhz": pa.array(np.full(count, 2437), pa.uint16()),
        "address_class": pa.array(np.full(count, int(AddressClass.GLOBAL)), pa.int8()),
        "frame_kinds": pa.array(np.full(count, int(FrameKind.PROBE_REQUEST)), pa.uint8()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def main(kafka: str, rate: str, seconds: str) -> None:
    sensors = [Sensor(number, int(rate) // STORES) for number in range(STORES)]
    producer = Producer({"bootstrap.servers": kafka, **PRODUCER, "queue.buffering.max.messages": 1_000_000})
    begin_ms = int(wall_s() * 1000) + 500
    latest_s = 0.0
    for second in range(int(seconds)):
        for number, sensor in enumerate(sensors):
            # The stores' seconds end one after the other.
            clock_ms = begin_ms + second * 1000 + number * 1000 // STORES
            wait_s = clock_ms / 1000 - wall_s()
            if wait_s > 0.002:
                time.sleep(wait_s)
            latest_s = max(latest_s, -wait_s)
            producer.produce(SIGHTINGS.name, sensor.message(second, clock_ms), store_id(number).encode())
            producer.poll(0)
    sent = {"sightings": int(seconds) * sum(len(sensor._slots) for sensor in sensors), "latest_s": latest_s}
    producer.flush(60)
    sys.stdout.write(json.dumps({**sent, "stays": sum(sensor.stays for sensor in sensors)}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number, sensor in enumerate(sensors):
        clock_ms = begin_ms + int(seconds) * 1000 + number * 1000 // STORES
        producer.produce(SIGHTINGS.name, sensor.message(0, clock_ms, final=True), store_id(number).encode())
    assert producer.flush(60) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
