"""A collector with a spool on real Kafka: outages, kills, refusals; everything arrives, and in order."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # confluent's stubs do not re-export their enums
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.main import main
from footfall_cli.simulator import simulate
from footfall_cli.topics import apply_topics
from footfall_events.rows import decode_rows
from footfall_events.schemas import SENSOR_MINUTES as MINUTES_SCHEMA
from footfall_events.sighting_batches import decode_sightings
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS

from tests.broker.spooling_collector import (
    Collector,
    Place,
    batches_of,
    first_batches,
    log_of,
    of_topic,
    wait_until,
    without_boot,
)
from tests.unit.collector_runs import frames_of, pcap, probe

pytestmark = pytest.mark.broker

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
START_MS = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
HEADER_BYTES = 24  # of a capture file


@pytest.fixture
def place(tmp_path: Path) -> Place:
    config, key = tmp_path / "chain.toml", tmp_path / "key.toml"
    config.write_text('[[stores]]\nid = "s"\nsensors = ["door"]\n')
    assert main(["keys", "init", "--config", str(config), "--key-file", str(key), "--from-date", "2023-11-01"]) == 0
    return Place(config, key, "s", "door", tmp_path / "spool")


def frames(begin_s: int, end_s: int) -> list[tuple[int, bytes]]:
    """A probe every 1.5 s, from seven phones."""
    times = range(begin_s * 1000, end_s * 1000, 1500)
    return [(START_MS + at_ms, probe(f"00:1b:2f:00:00:{n % 7:02x}")) for n, at_ms in enumerate(times)]


def test_six_hours_without_a_broker_and_two_kills_and_everything_is_there_in_order(
    tmp_path: Path, kafka: EmbeddedKafka
) -> None:
    chain = simulate(tmp_path / "chain", stores=1, days=1, sensors=1, visitors_per_day=60)
    ((store, (capture,)),) = chain.captures.items()
    key = tmp_path / "key.toml"
    assert (
        main(["keys", "init", "--config", str(chain.config), "--key-file", str(key), "--from-date", "2026-03-02"]) == 0
    )
    place = Place(chain.config, key, store, capture.stem, tmp_path / "spool")
    heard = frames_of(capture.read_bytes())
    noon_ms = heard[len(heard) // 2][0]
    pieces = [
        pcap([frame for frame in heard if noon_ms + begin * HOUR_MS <= frame[0] < noon_ms + end * HOUR_MS])
        for begin, end in ((-3, 0), (0, 3), (3, 3.1))
    ]
    expected = [place.outputs(piece, to_the_end=piece is pieces[2]) for piece in pieces]
    assert len(expected[0]) + len(expected[1]) > 4_500
    apply_topics(kafka.bootstrap, partitions=2)
    kafka.kill()
    waiting = 0
    with Collector(place, kafka.bootstrap, tmp_path / "1.log") as first:
        first.feed(pieces[0])
        waiting += len(expected[0])
        wait_until(lambda: first.count("spool_messages") == waiting, "three hours in the spool")
    with Collector(place, kafka.bootstrap, tmp_path / "2.log") as second:
        second.feed(pieces[1])
        waiting += len(expected[1])
        wait_until(lambda: second.count("spool_messages") == waiting, "six hours in the spool")
        kafka.start()
        wait_until(lambda: second.count("messages_delivered_total"), "something confirmed")
    with Collector(place, kafka.bootstrap, tmp_path / "3.log") as third:
        third.feed(pieces[2])
        assert third.ended() == 0
    assert place.left() == 0
    values = log_of(kafka, SIGHTINGS.name)
    order = first_batches(values)
    boots = [boot for boot, _ in groupby(order, key=lambda batch: batch[0])]
    assert len(boots) == 3  # none comes back after another one has begun
    for boot, outputs in zip(boots, expected, strict=True):
        assert [number for name, number in order if name == boot] == list(range(len(of_topic(outputs, SIGHTINGS.name))))
        assert without_boot(batches_of(values, boot)) == without_boot(of_topic(outputs, SIGHTINGS.name))
    minutes = {
        (row["boot_id"], row["minute"]): row
        for value in log_of(kafka, SENSOR_MINUTES.name)
        for row in decode_rows(value, MINUTES_SCHEMA).to_pylist()
    }
    assert len(minutes) == sum(output.rows.num_rows for outputs in expected for output in outputs if not output.header)


def test_an_outage_is_two_lines_and_a_signal_in_it_leaves_everything_to_the_next_start(
    tmp_path: Path, kafka: EmbeddedKafka, place: Place
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    with Collector(place, kafka.bootstrap, tmp_path / "1.log") as first:
        first.feed(pcap(frames(0, 60)))
        wait_until(lambda: first.count("messages_delivered_total") and not first.count("spool_messages"), "confirmed")
        with Collector(place, kafka.bootstrap, tmp_path / "other.log") as other:
            assert other.process.wait(60) == 2
            assert other.said() == [f"footfall: spool {place.spool}: another collector uses it: give each its own"]
        kafka.kill()
        first.feed(pcap(frames(60, 120))[HEADER_BYTES:])
        wait_until(lambda: any("confirms nothing" in line for line in first.said()), "the outage said")
        assert first.count("client_errors_total", reason="_TRANSPORT") > 1
        assert first.terminated(within_s=15) == 0
        said = [line for line in first.said() if not line.startswith("{")]
    left = place.left()
    assert left > 10
    assert [line.split(":")[0:2] for line in said] == [
        ["footfall", said[0].split(":")[1]],
        ["footfall", f" {left} messages stay in the spool; the next start sends them first"],
    ]
    assert "Kafka confirms nothing" in said[0]
    with Collector(place, kafka.bootstrap, tmp_path / "2.log") as second:
        second.feed(pcap(frames(120, 150)))
        wait_until(lambda: any("confirms nothing" in line for line in second.said()), "the outage said again")
        kafka.start()
        wait_until(lambda: any("confirms again" in line for line in second.said()), "its end said")
        wait_until(lambda: not second.count("spool_messages"), "everything confirmed")
        assert second.terminated(within_s=15) == 0
    values = log_of(kafka, SIGHTINGS.name)
    order = first_batches(values)
    assert [number for _, number in order] == [
        number for _, boot in groupby(order, key=lambda batch: batch[0]) for number in range(len(list(boot)))
    ]
    assert sum(rows.num_rows for value in dict.fromkeys(values) for rows in [decode_sightings(value)[1]]) == len(
        [*frames(0, 60), *frames(60, 120), *frames(120, 150)]
    )


def test_what_a_killed_collector_had_in_memory_shows_as_time_not_listened(
    tmp_path: Path, kafka: EmbeddedKafka, place: Place
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    before = pcap(frames(0, 220))
    with Collector(place, kafka.bootstrap, tmp_path / "1.log") as first:
        first.feed(before)
        sent = len(place.outputs(before, to_the_end=False))
        wait_until(lambda: first.count("messages_delivered_total") == sent, "all that it sent is confirmed")
    with Collector(place, kafka.bootstrap, tmp_path / "2.log") as second:
        second.feed(pcap(frames(240, 330)))
        assert second.ended() == 0
    listened: dict[int, float] = {}
    for value in log_of(kafka, SENSOR_MINUTES.name):
        for row in decode_rows(value, MINUTES_SCHEMA).to_pylist():
            minute = (int(row["minute"].timestamp() * 1000) - START_MS) // MINUTE_MS
            listened[minute] = listened.get(minute, 0) + row["listening_s"]
    # 3:00 to 3:40 was heard, and is lost.
    assert {minute: round(seconds) for minute, seconds in sorted(listened.items())} == {
        0: 60,
        1: 60,
        2: 60,
        4: 60,
        5: 28,
    }
    sightings = [
        row["observed_at"] for value in log_of(kafka, SIGHTINGS.name) for row in decode_sightings(value)[1].to_pylist()
    ]
    heard_s = [(at.timestamp() * 1000 - START_MS) / 1000 for at in sightings]
    assert 220 - 16 < max(second for second in heard_s if second < 220) < 220


def test_a_message_that_the_broker_refuses_for_ever_is_dropped_alone(
    tmp_path: Path, kafka: EmbeddedKafka, place: Place
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    small = ConfigEntry("max.message.bytes", "12000", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, SIGHTINGS.name, incremental_configs=[small])
    admin.incremental_alter_configs([topic])[topic].result()
    del admin
    kafka.kill()
    crowd = [(START_MS + 33_000 + n, probe(f"00:1b:2f:{n >> 8:02x}:{n & 255:02x}:07")) for n in range(1_900)]
    capture = pcap(sorted([*frames(0, 120), *crowd], key=lambda frame: frame[0]))
    with Collector(place, kafka.bootstrap, tmp_path / "1.log") as one:
        one.feed(capture)
        outputs = place.outputs(capture, to_the_end=False)
        wait_until(lambda: one.count("spool_messages") == len(outputs), "everything in the spool")
        kafka.start()
        wait_until(lambda: not one.count("spool_messages"), "the spool drained")
        assert one.count("messages_failed_total", topic=SIGHTINGS.name, reason="MSG_SIZE_TOO_LARGE") == 1
        assert [line for line in one.said() if "refuses a message of sightings.v1 for ever" in line]
        one.kill()
    sent = of_topic(outputs, SIGHTINGS.name)
    (refused,) = [decode_sightings(value)[0].batch_seq for value in sent if len(value) > 12_000]
    assert 0 < refused < len(sent) - 1
    order = first_batches(log_of(kafka, SIGHTINGS.name))
    assert [number for _, number in order] == [number for number in range(len(sent)) if number != refused]


def test_a_topic_that_is_deleted_and_comes_back_is_an_outage(
    tmp_path: Path, kafka: EmbeddedKafka, place: Place
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    with Collector(place, kafka.bootstrap, tmp_path / "1.log") as one:
        begun = pcap(frames(0, 60))
        outputs = place.outputs(begun, to_the_end=False)
        one.feed(begun)
        wait_until(lambda: one.count("messages_delivered_total") == len(outputs), "all of it confirmed")
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        admin.delete_topics([SIGHTINGS.name])[SIGHTINGS.name].result()
        # Until then a broker still takes, and throws away, what it is given.
        wait_until(lambda: SIGHTINGS.name not in admin.list_topics(timeout=10).topics, "the topic gone")
        one.feed(pcap(frames(60, 120))[HEADER_BYTES:])
        wait_until(lambda: any("confirms nothing" in line for line in one.said()), "the outage said")
        apply_topics(kafka.bootstrap, partitions=2)
        wait_until(lambda: not one.count("spool_messages"), "the spool drained", within_s=120)
        assert one.count("messages_failed_total") == 0
        one.kill()
    capture = pcap(frames(0, 120))
    sent = of_topic(place.outputs(capture, to_the_end=False), SIGHTINGS.name)
    order = first_batches(log_of(kafka, SIGHTINGS.name))
    assert [number for _, number in order] == list(range(len(of_topic(outputs, SIGHTINGS.name)), len(sent)))


def test_what_a_bound_drops_in_an_outage_is_not_sent_and_everything_newer_is(
    tmp_path: Path, kafka: EmbeddedKafka, place: Place
) -> None:
    apply_topics(kafka.bootstrap, partitions=2)
    kafka.kill()
    capture = pcap(frames(0, 7_200))
    outputs = place.outputs(capture, to_the_end=False)
    with Collector(place, kafka.bootstrap, tmp_path / "1.log", "--spool-mb", "1", "--spool-hours", "1") as one:
        one.feed(capture)
        wait_until(lambda: one.count("spool_messages") + one.count("spool_dropped_total") == len(outputs), "all heard")
        dropped = int(one.count("spool_dropped_total"))
        assert dropped > 500
        assert one.count("spool_bytes") <= 1_000_000
        assert one.count("spool_oldest_age_seconds") <= 3_600
        kafka.start()
        wait_until(lambda: not one.count("spool_messages"), "the spool drained")
        assert one.count("messages_delivered_total") == len(outputs) - dropped
        one.kill()
    order = first_batches(log_of(kafka, SIGHTINGS.name))
    sent = of_topic(outputs[dropped:], SIGHTINGS.name)
    assert [number for _, number in order] == [decode_sightings(value)[0].batch_seq for value in sent]
