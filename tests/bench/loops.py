"""The limits that the worker is held against: loops that read the same topic and do less with it.

`python -m tests.bench.loops faust|consume BOOTSTRAP MESSAGES CHUNK` reads so many batches of `sightings.v1` and prints
one JSON object: batches after the first chunk, batches in all, and the seconds between those two.

* `faust`    a Faust agent that decodes each chunk of batches and sorts its rows by store, device and time
* `consume`  a confluent-kafka consumer that reads the messages and does nothing with them
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer
from footfall_events.topics import SIGHTINGS


class Stopwatch:
    """Notes when the first chunk was done and when the last, unless that one waited for more; ends the process."""

    def __init__(self, messages: int, chunk: int) -> None:
        self._messages, self._chunk = messages, chunk
        self._first = self._last = (0, 0.0)
        self._done = 0

    def done(self, messages: int) -> None:
        self._done += messages
        now = time.monotonic()
        if not self._first[0]:
            self._first = (self._done, now)
        if messages >= self._chunk or self._done < self._messages:
            self._last = (self._done, now)
        if self._done >= self._messages:
            (first, began), (last, ended) = self._first, self._last
            figures = {"first": first, "messages": last, "seconds": ended - began}
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()
            os._exit(0)


def decode_and_sort(values: Sequence[bytes]) -> int:
    """Sightings in the batches, after what any job over them begins with."""
    batches = [pa.ipc.open_stream(value).read_next_batch() for value in values]
    stores = [hash(batch.schema.metadata[b"store_id"]) for batch in batches]
    table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches])
    store = np.repeat(stores, [batch.num_rows for batch in batches])
    device = table.column("device_id").to_numpy()
    observed = table.column("observed_at").cast(pa.int64()).to_numpy()
    order = np.lexsort((observed, device, store))
    return len(store[order]) + 0 * len(device[order]) + 0 * len(observed[order])


def run_faust(kafka: str, messages: int, chunk: int) -> None:
    watch = Stopwatch(messages, chunk)
    app = faust.App(
        f"bench-{os.getpid()}",
        broker=f"kafka://{kafka}",
        store="memory://",
        datadir=Path(tempfile.gettempdir(), f"footfall-faust-{os.getuid()}"),
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=64,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
    )

    @app.agent(app.topic(SIGHTINGS.name, key_serializer="raw", value_serializer="raw"), concurrency=1)
    async def sightings(stream: Any) -> None:
        async for events in stream.noack_take(chunk, within=0.5):
            decode_and_sort([event.message.value for event in events])
            for event in events:
                event.ack()
            watch.done(len(events))

    faust.Worker(app, loglevel="ERROR", quiet=True).execute_from_commandline()


def run_consume(kafka: str, messages: int, chunk: int) -> None:
    watch = Stopwatch(messages, chunk)
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": f"bench-{os.getpid()}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([SIGHTINGS.name])
    while True:
        found = consumer.consume(chunk, 0.5)
        if found:
            assert all(message.error() is None for message in found)
            watch.done(len(found))


if __name__ == "__main__":
    _, kind, address, count, size = sys.argv
    {"faust": run_faust, "consume": run_consume}[kind](address, int(count), int(size))
