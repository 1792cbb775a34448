"""The job in Quix Streams: one application a core in one consumer group; ends when all of the topic is processed.

`python job.py BOOTSTRAP TOPIC json|arrow DIRECTORY`, run by the Python of Quix's own environment. A sighting of no
store, a day after all others, is appended to every partition in the end: nothing else closes the last windows.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, MutableSequence
from ctypes import c_int64
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, Producer, TopicPartition
from quixstreams import Application
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.dataframe.windows import Count, Max
from quixstreams.models import Deserializer, SerializationContext

CORES = len(os.sched_getaffinity(0))
PARTITIONS = 8
GAP_MS, MINUTE_MS = 900_000, 60_000
GRACE_MS = 3 * 3_600_000
Row = dict[str, Any]
END: Row = {"store": "none-0", "device": 0, "ts": 1_780_315_200_000 + 86_400_000, "span_ms": 0}


class SightingBatches(Deserializer):  # type: ignore[misc]  # Quix is not installed where types are checked
    """Rows of one batch of `sightings.v1`, one after the other."""

    split_values = True

    def __call__(self, value: bytes, ctx: SerializationContext) -> Iterator[Row]:
        if value.startswith(b"{"):
            yield json.loads(value)
            return
        with pa.ipc.open_stream(value) as reader:
            store = reader.schema.metadata[b"store_id"].decode()
            batch = reader.read_next_batch()
        columns = (batch.column("device_id"), batch.column("observed_at").cast(pa.int64()), batch.column("span_ms"))
        for device, ts, span_ms in zip(*(column.to_pylist() for column in columns), strict=True):
            yield {"store": store, "device": device, "ts": ts, "span_ms": span_ms}


def identity(row: Row) -> str:
    return f"{row['store']}/{row['device']}"


def sessions(sightings: StreamingDataFrame) -> StreamingDataFrame:
    """One row a session of sightings that are keyed by store and device."""

    def named(window: Row, key: Any, timestamp: int, headers: Any) -> Row:
        store, _, device = (key.decode() if isinstance(key, bytes) else key).partition("/")
        first, last = window["start"], window["last"]
        return {"store": store, "device": int(device), "first": first, "last": last, "sightings": window["sightings"]}

    ends = sightings.apply(lambda row: {"end": row["ts"] + row["span_ms"]})
    windows = ends.session_window(GAP_MS, grace_ms=GRACE_MS).agg(last=Max("end"), sightings=Count())
    return windows.final(closing_strategy="partition").apply(named, metadata=True)


def minutes(stores: StreamingDataFrame) -> StreamingDataFrame:
    """Counts a minute of rows that are keyed by store."""

    def named(window: Row, key: Any, timestamp: int, headers: Any) -> Row:
        store = key.decode() if isinstance(key, bytes) else key
        return {"store": store, "minute": window["start"], "sightings": window["value"]}

    windows = stores.tumbling_window(MINUTE_MS, grace_ms=GRACE_MS).count()
    return windows.final(closing_strategy="partition").apply(named, metadata=True)


def work(
    bootstrap: str,
    topic: str,
    form: str,
    directory: str,
    group: str,
    positions: MutableSequence[int],
    forwarded: MutableSequence[int],
    number: int,
) -> None:
    """One application; tells the next offset of every partition of both topics, and how many rows it has rekeyed."""

    def processed(name: str, partition: int, offset: int) -> None:
        positions[partition + (0 if name == topic else PARTITIONS)] = offset + 1

    def counted(row: Row) -> bool:
        forwarded[number] += 1
        return True

    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=Path(directory, f"state-{number}"),
        on_message_processed=processed,
        loglevel="WARNING",
    )
    reads = SightingBatches() if form == "arrow" else "json"
    source = app.topic(topic, value_deserializer=reads, timestamp_extractor=None if form == "arrow" else event_time)
    sightings = app.dataframe(source)
    if form == "arrow":
        # Rows take their own time from here on, and minutes need no other key than the batch's.
        sightings = sightings.set_timestamp(lambda row, key, timestamp, headers: row["ts"])
        keys = {"key_serializer": "string", "key_deserializer": "string"}
        rekeyed = sightings.filter(counted).group_by(identity, name="device", **keys)
        found = sessions(rekeyed), minutes(sightings.apply(lambda row: row["store"]))
    else:
        stores = sightings.filter(counted).apply(lambda row: row["store"])
        strings = {f"{part}_{way}": "string" for part in ("key", "value") for way in ("serializer", "deserializer")}
        found = sessions(sightings), minutes(stores.group_by(lambda store: store, name="store", **strings))
    for name, rows in zip(("sessions", "minutes"), found, strict=True):
        rows.to_topic(app.topic(f"quix.{name}", key_serializer="bytes" if name == by_bytes(form) else "string"))
    app.run()


def event_time(row: Row, headers: Any, timestamp: float, kind: Any) -> int:
    return int(row["ts"])


def by_bytes(form: str) -> str:
    """Which of the outputs keeps the source's key, bytes; the other's was made by group_by."""
    return "minutes" if form == "arrow" else "sessions"


def main(bootstrap: str, topic: str, form: str, directory: str) -> None:
    group = f"quix-{os.getpid()}"
    fork = multiprocessing.get_context("fork")
    positions, forwarded = fork.RawArray(c_int64, 2 * PARTITIONS), fork.RawArray(c_int64, CORES)
    arguments = (bootstrap, topic, form, directory, group, positions, forwarded)
    workers = [fork.Process(target=work, args=(*arguments, number)) for number in range(CORES)]
    for worker in workers:
        worker.start()
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends"})

    def ends(name: str) -> list[int]:
        return [reader.get_watermark_offsets(TopicPartition(name, at), 30)[1] for at in range(PARTITIONS)]

    def wait(condition: Callable[[], bool]) -> None:
        while not condition():
            assert all(worker.is_alive() for worker in workers), "a worker has ended"
            time.sleep(0.1)

    source = ends(topic)
    wait(lambda: positions[:PARTITIONS] == source)
    wait(lambda: sum(positions[PARTITIONS:]) == sum(forwarded))
    (rekeyed,) = [name for name in reader.list_topics().topics if name.startswith(f"repartition__{group}")]
    producer = Producer({"bootstrap.servers": bootstrap})
    plain = END["store"] if form == "json" else json.dumps(END)
    for at in range(PARTITIONS):
        producer.produce(topic, json.dumps(END), identity(END), at, timestamp=END["ts"])
        producer.produce(rekeyed, plain, END["store"] if form == "json" else identity(END), at, timestamp=END["ts"])
    assert producer.flush(30) == 0
    wait(lambda: positions[:] == ends(topic) + ends(rekeyed))
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGTERM)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, worker.exitcode


if __name__ == "__main__":
    main(*sys.argv[1:])
