"""Sensors of 500 stores at their own pace: a batch a second and store, stamped with this machine's clock.

`python -m tests.bench.live BOOTSTRAP RATE SECONDS` sends RATE sightings a second in all and prints one JSON object:
sightings, stays, and how late the latest batch was in seconds; after a line on its input, a final batch of every store.
A device is heard once a second, stays for 20 seconds and never comes back.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count

import numpy as np
from confluent_kafka import Producer
from footfall_events.producing import PRODUCER
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.topics import SIGHTINGS
from numpy.typing import NDArray

from tests.bench.processes import wall_s
from tests.bench.workload import SIGHTING, sightings_of, store_id

STORES = 500
GAP_S, STAY_S = 20, 20
_SPAN_MS = 200


def chain_toml() -> str:
    """The chain of these stores; gap and lateness are short, so that visits close while somebody watches."""
    rule = f'rule = {{ name = "bench", version = 1, gap_s = {GAP_S}, min_dwell_s = 5, engaged_s = 10 }}\n'
    return "\n".join(
        f'[[stores]]\nid = "{store_id(number)}"\nsensors = ["door"]\nallowed_lateness_s = 5\n{rule}'
        for number in range(STORES)
    )


class Sensor:
    """What one store's sensor hears: `devices` of them at any time, each for a stay and never again."""

    def __init__(self, number: int, devices: int) -> None:
        self.name = store_id(number)
        self._number = number
        self._slots = np.arange(devices, dtype=np.int64)
        self._seqs = count()

    def batch(self, second: int, clock_ms: int) -> bytes:
        """The batch of the second that ends at the clock."""
        rows = np.zeros(len(self._slots), SIGHTING)
        identity = (self._stay(second) * STORES + self._number) * len(self._slots) + self._slots
        rows["device"] = identity.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        rows["ms"] = clock_ms - 1000 + self._slots * 7 % (1000 - _SPAN_MS)
        rows["span"] = _SPAN_MS
        rows["rssi"] = -50 - identity % 30
        return self._encoded(clock_ms, rows, final=False)

    def final_batch(self, clock_ms: int) -> bytes:
        """The one that closes the store."""
        return self._encoded(clock_ms, np.zeros(0, SIGHTING), final=True)

    def stays(self, seconds: int) -> int:
        """Devices heard in the first so many seconds."""
        return int((self._stay(seconds - 1) - self._stay(0) + 1).sum())

    def _stay(self, second: int) -> NDArray[np.int64]:
        """Number of the stay in each slot; every slot changes its device at a moment of its own."""
        stay: NDArray[np.int64] = (second + self._slots) // STAY_S
        return stay

    def _encoded(self, clock_ms: int, rows: NDArray[np.void], *, final: bool) -> bytes:
        header = BatchHeader(self.name, "door", "boot-1", next(self._seqs), clock_ms, 1, "bench", final=final)
        return encode_sightings(header, sightings_of(rows))


def main(kafka: str, rate: int, seconds: int) -> None:
    sensors = [Sensor(number, rate // STORES) for number in range(STORES)]
    producer = Producer({"bootstrap.servers": kafka, **PRODUCER, "queue.buffering.max.messages": 1_000_000})
    begin_ms = int(wall_s() * 1000) + 500

    def clock_ms(second: int, number: int) -> int:
        """The stores' seconds end one after the other."""
        return begin_ms + second * 1000 + number * 1000 // STORES

    latest_s = 0.0
    for second in range(seconds):
        for number, sensor in enumerate(sensors):
            clock = clock_ms(second, number)
            wait_s = clock / 1000 - wall_s()
            if wait_s > 0.002:
                time.sleep(wait_s)
            latest_s = max(latest_s, -wait_s)
            producer.produce(SIGHTINGS.name, sensor.batch(second, clock), sensor.name.encode())
            producer.poll(0)
    producer.flush(60)
    stays = sum(sensor.stays(seconds) for sensor in sensors)
    sent = {"sightings": seconds * STORES * (rate // STORES), "stays": stays, "latest_s": latest_s}
    sys.stdout.write(json.dumps(sent) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number, sensor in enumerate(sensors):
        producer.produce(SIGHTINGS.name, sensor.final_batch(clock_ms(seconds, number)), sensor.name.encode())
    assert producer.flush(60) == 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
