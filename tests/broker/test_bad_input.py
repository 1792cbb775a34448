"""Bad messages on real Kafka: dead letters with their reasons and bytes, no process ends, the good rows are exact."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from footfall_cli.children import Child
from footfall_cli.deadletters import Record
from footfall_cli.drained import read_all, stream_lag
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import footfall
from footfall_cli.topics import apply_topics
from footfall_events.rows import encode_rows
from footfall_events.schemas import SIGHTINGS, VISITS
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.sighting_reader import SightingsReader
from footfall_events.topics import DEAD_LETTERS
from footfall_events.topics import SIGHTINGS as SIGHTINGS_TOPIC
from footfall_events.topics import VISITS as VISITS_TOPIC
from footfall_sinks.batch import read_item
from footfall_sinks.kafka import UNPACKS_TO_TOO_MUCH
from footfall_streams.events import Message, read_batches
from footfall_streams.partitioning import partition_of

from tests.broker.sink_world import PARTITIONS, TABLES, Database, SinkProcess, World, ended, wait_until
from tests.broker.workers import tables_in
from tests.property.damage import damage
from tests.property.worlds import START_MS, SentBatch, Sighting, chain, messages, run, world

pytestmark = pytest.mark.broker

log = logging.getLogger(__name__)

CONFIG = """
[[stores]]
id = "s"
sensors = ["a", "b"]
opening = { daily = "02:00-23:00" }
"""
_MB = 1024 * 1024
GOOD = SentBatch("a", 10**6, START_MS, tuple(Sighting("a", n, START_MS - n, 0, -50) for n in range(9))).value()
HEADER = BatchHeader("s", "a", "boot", 10**6, START_MS, 1, "test")


@dataclass(frozen=True)
class Bad:
    """A message that nobody can use, and the reason that its dead letter gives; `omitted` if not with its bytes."""

    reason: str
    value: bytes | None
    key: bytes | None = b"s"
    partition: int = -1
    topic: str = SIGHTINGS_TOPIC.name
    omitted: bool = False


class Sender:
    """Sends messages one by one, and knows where each went."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "compression.type": "zstd",
                "message.max.bytes": 1_000_000_000,
                "log_level": 0,
            }
        )
        self.sent: dict[tuple[str, int, int], Bad] = {}

    def send(self, bad: Bad) -> None:
        place = self.send_value(bad.topic, bad.value, bad.key, bad.partition)
        self.sent[place] = bad

    def send_value(
        self, topic: str, value: bytes | None, key: bytes | None = b"s", partition: int = -1
    ) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        places: list[tuple[str, int, int]] = []

        def note(error: object, message: object) -> None:
            assert error is None, error
            places.append((message.topic(), message.partition(), message.offset()))  # type: ignore[attr-defined]

        self._producer.produce(topic, value, key, partition, on_delivery=note)
        self._producer.flush(60)
        (place,) = places
        return place

    def check(self, letters: list[Record]) -> None:
        """Every bad message, and nothing else, has one dead letter with its reason, its place and its bytes."""
        found = {}
        for letter in letters:
            said = {name: value.decode() for name, value in letter.headers.items()}
            place = (said["topic"], int(said["partition"]), int(said["offset"]))
            assert place not in found, f"two letters of {place}"
            found[place] = (said["reason"], letter.value or b"", letter.key)
        assert found == {
            place: (bad.reason, b"" if bad.omitted else bad.value or b"", bad.key) for place, bad in self.sent.items()
        }


def refused() -> Iterator[Bad]:
    """Messages of `sightings.v1` that the worker refuses."""
    for length in range(0, len(GOOD), 97):
        yield from judged(GOOD[:length])
    for seed in range(60):
        yield from judged(damage(GOOD, seed))
    for reason, change in (
        ("unknown_store", {"store_id": "elsewhere"}),
        ("unknown_sensor", {"sensor_id": "z"}),
        ("bad_header", {"store_id": ""}),
        ("bad_header", {"boot_id": "b" * 100_000}),
        ("bad_header", {"batch_seq": -1}),
        ("bad_header", {"batch_seq": 2**70}),
        ("bad_header", {"sensor_clock_ms": 2**62}),
        ("clock_not_set", {"sensor_clock_ms": 0}),
        ("clock_ahead", {"sensor_clock_ms": 2**42 - 1}),
    ):
        header = replace(HEADER, **change)
        yield Bad(reason, encode_sightings(header, empty()), header.store_id.encode() or b"s")
    yield Bad("bad_header", encode_rows(empty().replace_schema_metadata({"store_id": "s", "batch_seq": "many"})))
    for at_ms in (-(2**63), -62_135_596_800_000, 253_402_300_799_000, 2**63 - 1):
        yield Bad("rows_ahead_of_clock", SentBatch("a", 7, START_MS, (Sighting("a", 1, at_ms, 0, -50),)).value())
    yield Bad("wrong_schema", encode_rows(pa.RecordBatch.from_pylist([], schema=VISITS)))
    yield Bad("wrong_key", GOOD, None)
    yield Bad("wrong_key", GOOD, b"t")
    yield Bad("wrong_partition", GOOD, b"s", 1 - own_partition())
    yield Bad("not_arrow", None)
    yield Bad("not_arrow", Random(3).randbytes(1_048_500))
    yield Bad("oversized", bytes(7 * _MB), omitted=True)
    yield Bad("oversized", bytes(100_000_000), omitted=True)


def judged(value: bytes) -> Iterator[Bad]:
    """The value if it is refused by itself."""
    found = read_batches([Message(0, 0, b"s", value, 2**42)], {"s": 0}, [chain().stores["s"]], [0], SightingsReader())
    yield from (Bad(reason, value) for _, reason in found.poison)


def empty() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=SIGHTINGS)


def own_partition() -> int:
    """Where the store `s` lives among two partitions."""
    return partition_of(b"s", 2)


def most_memory_mb(child: Child) -> int:
    """The most that the process ever held."""
    assert child.process is not None
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def test_refused_batches_become_dead_letters_and_the_good_ones_around_them_count(
    tmp_path: Path, kafka: EmbeddedKafka
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    database = Database(tmp_path)
    config = tmp_path / "chain.toml"
    config.write_text(CONFIG)
    command = footfall("stream", "--config", config, "--bootstrap", kafka.bootstrap, "--metrics-port", "0")
    worker = Child("worker", command, tmp_path / "worker.log", dict(os.environ))  # noqa: TID251  a child inherits what the tests run in
    with ended(worker, database.child):
        worker.start()
        good, bad, sender = world(Random(11)), list(refused()), Sender(kafka.bootstrap)
        for number, batch in enumerate(good):
            for one in bad[number * len(bad) // len(good) : (number + 1) * len(bad) // len(good)]:
                sender.send(one)
            sender.send_value(SIGHTINGS_TOPIC.name, batch.value())
        wait_until(lambda: stream_lag(kafka.bootstrap) == 0, "the worker takes everything")
        assert worker.exit_code() is None, worker.tail()
        log.info("%d bad messages among %d, worker at most %d MB", len(bad), len(good), most_memory_mb(worker))
        sender.check(read_all(kafka.bootstrap, DEAD_LETTERS.name))
        found, wanted = tables_in(kafka.bootstrap), run(messages(good))
        assert found.visits(version=False) == wanted.visits(version=False)
        assert found.minutes(version=False) == wanted.minutes(version=False)
        sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
        with ended(sink):
            query = "SELECT * FROM footfall.{} FINAL"
            wait_until(lambda: len(database.rows(query.format("visits_log"))) == len(wanted.visits()), "visits appear")
            wait_until(
                lambda: len(database.rows(query.format("store_minutes_log"))) == len(wanted.minutes()), "minutes appear"
            )


def unstorable(table: str) -> Iterator[Bad]:
    """Messages of one of the sink's topics that no table can take."""
    topic, schema, _ = TABLES[table]
    kinds = {field.name: 1 for field in schema}
    names = {field.name: "store-1" for field in schema if pa.types.is_string(field.type)}
    row = {**kinds, **names, "engaged": True}
    good = encode_rows(pa.RecordBatch.from_pylist([row], schema=schema))
    cut = [good[:length] for length in range(0, len(good), 211)]
    for value in (*cut, *(damage(good, seed) for seed in range(40))):
        reason = read_item(topic, 0, b"s", value).poison
        if reason:
            yield Bad(reason, value, topic=topic)
    yield Bad("not_arrow", None, topic=topic)
    yield Bad("wrong_schema", GOOD, topic=topic)
    for name, wrong in (("role", 9), ("deleted", 2), ("is_final", 7), ("business_date", 2**31 - 1)):
        if name in schema.names:
            changed = pa.RecordBatch.from_pylist([row, {**row, name: wrong}], schema=schema)
            yield Bad("bad_value", encode_rows(changed), topic=topic)


def test_unstorable_messages_become_dead_letters_and_their_neighbours_are_stored(
    tmp_path: Path, kafka: EmbeddedKafka
) -> None:
    apply_topics(kafka.bootstrap, PARTITIONS)
    database = Database(tmp_path)
    sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
    with ended(sink, database.child):
        rows, sender, rng = World(kafka.bootstrap, database, seed=3), Sender(kafka.bootstrap), Random(4)
        bad = [one for table in TABLES for one in unstorable(table)]
        visits = VISITS_TOPIC.name
        bad += [
            Bad("oversized", bytes(17 * _MB), topic=visits, omitted=True),
            Bad("oversized", bytes(40_000_000), topic=visits, omitted=True),
            Bad(UNPACKS_TO_TOO_MUCH, bytes(101_000_000), None, topic=visits, omitted=True),
            Bad(UNPACKS_TO_TOO_MUCH, bytes(300_000_000), None, topic=visits, omitted=True),
            Bad("not_arrow", rng.randbytes(1_048_500), topic=visits),
        ]
        for one in bad:
            sender.send(replace(one, partition=rng.randrange(PARTITIONS)))
            rows.send(2)
        wait_until(rows.drained, "the sink takes everything", 240)
        assert sink.is_running()
        log.info("%d bad messages, sink at most %d MB", len(bad), most_memory_mb(sink.child))
        sender.check(read_all(kafka.bootstrap, DEAD_LETTERS.name))
        assert rows.differences() == []
        for view in ("visits", "store_minutes", "sensor_minutes", "store_days"):
            database.rows(f"SELECT * FROM footfall.{view}")
