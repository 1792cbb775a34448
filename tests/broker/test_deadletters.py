"""`footfall deadletters` on real Apache Kafka: past a batch that stops every worker, and back in after the fix."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Producer
from footfall_cli.drained import stream_lag, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.log_reader import read_log, spans_of
from footfall_cli.main import main
from footfall_cli.topics import apply_topics
from footfall_events.dead_letters import OFFSET, PARTITION, REASON, TOPIC
from footfall_events.stores import load_chain
from footfall_events.topics import DEAD_LETTERS, SIGHTINGS
from footfall_streams.events import Message

from tests.broker.dead_letter_world import (
    BROKEN_RELEASE,
    PARTITIONS,
    Fleet,
    Said,
    deadletters,
    fleet,
    log_of,
    partition_of,
    pure_tables,
    same,
    send,
    send_values,
    tables_in,
)
from tests.broker.sink_world import PARTITIONS as SINK_PARTITIONS
from tests.broker.sink_world import TABLES, Database, SinkProcess, World, ended, wait_until
from tests.property.worlds import Row, SentBatch, Tables, world

pytestmark = pytest.mark.broker

_DEVICE = 11_000_000_000_000_000_000


def chain_file(path: Path, stores: dict[str, list[str]]) -> Path:
    """A configuration with these stores and their sensors; store `c` allows a clock hardly any lead."""
    tables = []
    for store, sensors in stores.items():
        lead = "max_clock_lead_s = 1\n" if store == "c" else ""
        tables.append(f'[[stores]]\nid = "{store}"\nsensors = {sensors}\n{lead}opening = {{ daily = "02:00-23:00" }}\n')
    path.write_text("\n".join(tables).replace("'", '"'))
    return path


def drain(kafka: EmbeddedKafka, workers: Fleet) -> None:
    wait_until_zero(lambda: stream_lag(kafka.bootstrap), workers.keep_alive, 120)


def until(met: Callable[[], bool], each: Callable[[], None], wait_s: float = 120) -> None:
    deadline = time.monotonic() + wait_s
    while not met():
        assert time.monotonic() < deadline
        each()
        time.sleep(0.05)


def ends(kafka: EmbeddedKafka) -> dict[int, int]:
    return {number: span.stop for number, span in spans_of(kafka.bootstrap, SIGHTINGS.name).items()}


def two_stores() -> tuple[str, str]:
    """Names of two stores whose keys lie in different partitions."""
    names = [f"s{number}" for number in range(20)]
    first = partition_of(names[0].encode())
    return names[0], next(name for name in names if partition_of(name.encode()) != first)


def world_of(stores: Sequence[str], seed: int) -> list[SentBatch]:
    """The stores' batches by time, with pseudonyms as long as real ones."""
    batches = []
    for store in stores:
        for batch in world(Random(seed), sightings=40):
            sightings = tuple(replace(one, device=_DEVICE + one.device) for one in batch.sightings)
            batches.append(replace(batch, store=store, sightings=sightings))
    return sorted(batches, key=lambda batch: batch.clock_ms)


def test_a_fleet_gets_past_a_batch_that_stops_every_worker_and_takes_it_after_the_fix(
    tmp_path: Path, kafka: EmbeddedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_topics(kafka.bootstrap, PARTITIONS)
    stores = two_stores()
    config = chain_file(tmp_path / "chain.toml", {store: ["a", "b"] for store in stores})
    chain = load_chain(config)
    batches = world_of(stores, 5)
    fatal = next(n for n in range(len(batches) // 2, len(batches)) if len(batches[n].sightings) > 1)
    batches[fatal] = replace(batches[fatal], boot="boot-raises")
    sent = send(kafka, batches)[fatal]
    partition, offset = sent.partition() or 0, sent.offset() or 0
    search = ("quarantine", "--config", config)

    with fleet(tmp_path, kafka, config, BROKEN_RELEASE) as broken:
        until(lambda: broken.deaths >= 2, broken.keep_alive)
        last_words = re.findall(
            r"a step failed at sightings\.v1(.*) \(if .*`footfall deadletters quarantine`", broken.log()
        )
        assert any(
            int(number) == partition and int(first) <= offset <= int(last)
            for words in last_words
            for number, first, last in re.findall(r"\[(\d+)\] offsets (\d+) to (\d+)", words)
        )
        found = deadletters(broken, kafka, *search)
        assert found.code == 1
        command = f"footfall deadletters quarantine --partition {partition} --offset {offset}\n"
        assert found.out.count("cannot be folded") == found.out.count(command) == 1
        assert (
            f"sightings.v1[{partition}] offset {offset} cannot be folded: RuntimeError: cannot fold device …"
            in found.out
        )
        assert f"store_id {batches[fatal].store}, sensor_id {batches[fatal].sensor}, boot_id boot-raises" in found.out
        assert str(_DEVICE)[:10] not in found.out + found.err
        marked = deadletters(broken, kafka, *search, "--partition", str(partition), "--yes")
        assert marked.code == 0, marked.err
        drain(kafka, broken)
        assert same(tables_in(kafka), pure_tables(log_of(kafka, (partition, offset)), [(chain, {})]))
        (letters,) = deadletters(broken, kafka, "list", "--json").json()
        assert (letters["reason"], letters["store"], letters["letters"]) == ("quarantined", batches[fatal].store, 1)

    with fleet(tmp_path, kafka, config) as sound:
        refused = told(capsys, kafka, "replay")
        assert (refused.code, ends(kafka)) == (1, dict.fromkeys(range(PARTITIONS), len(batches) // 2))
        assert "--reason quarantined" in refused.out
        assert told(capsys, kafka, "replay", "--reason", "quarantined").code == 0
        send(kafka, closing(batches))
        drain(kafka, sound)
        wanted = pure_tables(log_of(kafka, (partition, offset)), [(chain, {})])
        assert same(tables_in(kafka), wanted)
        assert same(wanted, pure_tables(log_of(kafka), [(chain, {})]), version=False)
        assert told(capsys, kafka, "list", "--json").json() == []
        (group,) = told(capsys, kafka, "list", "--json", "--all").json()
        assert (group["letters"], group["replayed"]) == (1, 1)
        # Once more: the batch is known, and nothing changes, versions included.
        assert "1 of 1 letters" in told(capsys, kafka, "replay", "--reason", "quarantined", "--again").out
        drain(kafka, sound)
        assert len(log_of(kafka)) == len(batches) + 2 + len(stores)
        assert same(tables_in(kafka), wanted)

    (sent,) = send(kafka, [replace(batches[fatal], boot="boot-kills")])
    died = deadletters(broken, kafka, *search, "--yes", keep_alive=False)
    assert died.code == 0
    assert f"offset {sent.offset()} cannot be folded: the process dies of SIGKILL" in died.out
    again = deadletters(broken, kafka, *search, keep_alive=False)
    assert (again.code, again.out.split(":")[0]) == (0, "the 1 messages that come next can be folded")


def test_a_completed_configuration_and_the_brokers_clock_let_letters_back_in(
    tmp_path: Path, kafka: EmbeddedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_topics(kafka.bootstrap, PARTITIONS)
    known, unknown = two_stores()
    batches = world_of((known, unknown), 6)
    before = chain_file(tmp_path / "before.toml", {known: ["a"], "c": ["a"]})
    after = chain_file(tmp_path / "after.toml", {known: ["a", "b"], unknown: ["a", "b"], "c": ["a"]})
    early, late = [one for one in batches if not one.final], [one for one in batches if one.final]
    send_values(kafka, [*((one.store, one.value()) for one in early), (known, b"not a batch")])
    (elsewhere,) = send(
        kafka, [SentBatch("a", 10_000, early[-1].clock_ms, (), store=known)], 1 - partition_of(known.encode())
    )
    now_ms = elsewhere.timestamp()[1]
    send(kafka, [SentBatch("a", 0, now_ms + 12_000, (), store="c", boot="fast")])

    with fleet(tmp_path, kafka, before) as workers:
        drain(kafka, workers)
    changed_at = ends(kafka)
    groups = {(group["reason"], group["store"]): group for group in told(capsys, kafka, "list", "--json").json()}
    wrong = Counter(("unknown_store" if one.store == unknown else "unknown_sensor", one.store) for one in early)
    wrong -= Counter(("unknown_sensor", one.store) for one in early if (one.store, one.sensor) == (known, "a"))
    wrong += Counter({("not_arrow", known): 1, ("wrong_partition", known): 1, ("clock_ahead", "c"): 1})
    assert {names: group["letters"] for names, group in groups.items()} == wrong

    curable = sum(wrong.values()) - 2
    forecast = told(capsys, kafka, "replay", "--dry-run", "--config", before)
    assert f"1 of {wrong.total()} letters would go back" in forecast.out  # the one in the wrong partition
    assert f"{wrong['unknown_sensor', known]} unknown_sensor: left, it would come back" in forecast.out
    assert told(capsys, kafka, "replay", "--reason", "clock_ahead", "--config", after).code == 1
    assert ends(kafka) == changed_at
    replayed = told(capsys, kafka, "replay", "--config", after)
    assert f"{curable} of {wrong.total()} letters went back" in replayed.out
    assert "1 not_arrow: left" in replayed.out

    with fleet(tmp_path, kafka, after) as workers:
        send(kafka, late)
        seq = iter(range(10_000))

        def tick() -> None:
            workers.keep_alive()
            send(kafka, [SentBatch("a", next(seq), now_ms, (), store="c")])

        until(lambda: told(capsys, kafka, "replay", "--reason", "clock_ahead", "--config", after).code == 0, tick)
        drain(kafka, workers)
    wanted = pure_tables(log_of(kafka), [(load_chain(before), changed_at), (load_chain(after), {})])
    assert same(tables_in(kafka), wanted)
    complete = pure_tables(
        [
            Message(partition_of(one.store.encode()), n, one.store.encode(), one.value(), 2**42)
            for n, one in enumerate(batches)
        ],
        [(load_chain(after), {})],
    )
    assert of_stores(wanted, known, unknown) == of_stores(complete, known, unknown)
    (left,) = told(capsys, kafka, "list", "--json").json()
    assert (left["reason"], left["letters"]) == ("not_arrow", 1)
    (place,) = [row["place"] for row in told(capsys, kafka, "list", "--json", "--each").json()]
    shown = told(capsys, kafka, "show", place, "--output", tmp_path / "letter", "--json").json()
    assert shown["batch"] == {"refused": shown["batch"]["refused"]}
    assert (tmp_path / "letter").read_bytes() == b"not a batch"
    for mistake, words in (
        (("list", "--partition", place.split(":")[0], "--offset", "99999"), "holds offsets 0 to "),
        (("list", "--partition", "9"), "has partitions 0 to 1"),
        (("show", f"{place.split(':')[0]}:99999"), "holds offsets 0 to "),
        (("quarantine", "--partition", "0", "--offset", "0"), "0 is not among them"),
        (("quarantine", "--partition", "9", "--offset", "0"), "has partitions 0 to 1"),
    ):
        said = told(capsys, kafka, *mistake)
        assert said.code == 2, mistake
        assert words in said.err
    # What no release here can read goes back only if somebody insists, and returns.
    assert told(capsys, kafka, "replay", "--reason", "not_arrow").code == 1
    assert told(capsys, kafka, "replay", "--reason", "not_arrow", "--anyway").code == 0


def test_rows_that_the_store_refused_are_stored_after_the_repair_and_never_outrank_newer_ones(
    tmp_path: Path, kafka: EmbeddedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_topics(kafka.bootstrap, SINK_PARTITIONS)
    database = Database(tmp_path)
    with ended(database.child):
        change(database, "Int32")
        rows = World(kafka.bootstrap, database, seed=11)
        rows.send()
        sink = SinkProcess("sink", tmp_path, kafka.bootstrap, database.url)
        with ended(sink):
            # Asked for offsets before its coordinator is there, librdkafka's admin client dies of SIGSEGV.
            wait_until(rows.group.members, "the sink has joined its group")
            wait_until(rows.drained, "everything is stored or dead-lettered")
            groups = told(capsys, kafka, "list", "--json").json()
            assert {(group["reason"], group["topic"]) for group in groups} == {("store_rejected", "visits.v1")}
            assert rows.differences()
            change(database, "LowCardinality(String)")
            rows.send()
            letters = sum(group["letters"] for group in groups)
            for again in ((), ("--again",)):
                assert f"{letters} of {letters} letters" in told(capsys, kafka, "replay", *again).out
                wait_until(rows.drained, "the letters are stored")
                assert rows.differences() == []
            assert told(capsys, kafka, "list", "--json").json() == []
            # Of each topic every message once more: outdated rows arrive behind those that replaced them.
            buried = sum(bury_all(kafka, topic) for topic, _, _ in TABLES.values())
            assert f"{buried} of {buried} letters" in told(capsys, kafka, "replay").out
            wait_until(rows.drained, "they are stored again")
            assert rows.differences() == []


def change(database: Database, kind: str) -> None:
    """Give one column of the visits a type that their texts fit, or do not."""
    with database.client() as client:
        client.command(f"ALTER TABLE footfall.visits_log MODIFY COLUMN rule_version {kind}")


def bury_all(kafka: EmbeddedKafka, topic: str) -> int:
    """A dead letter of every message that a topic holds, the newest first; how many."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    messages = list(read_log(kafka.bootstrap, topic, spans_of(kafka.bootstrap, topic)))
    for one in reversed(messages):
        place = {TOPIC: topic, PARTITION: str(one.partition), OFFSET: str(one.offset)}
        headers: dict[str, str | bytes | None] = {REASON: "store_rejected", **place}
        producer.produce(DEAD_LETTERS.name, one.value, one.key, headers=headers)
    assert producer.flush(60) == 0
    return len(messages)


def told(capsys: pytest.CaptureFixture[str], kafka: EmbeddedKafka, *arguments: str | Path) -> Said:
    """Run `footfall deadletters` here, with the sound release."""
    capsys.readouterr()
    code = main(["deadletters", *map(str, arguments), "--bootstrap", kafka.bootstrap])
    said = capsys.readouterr()
    return Said(code, said.out, said.err)


def closing(batches: Sequence[SentBatch]) -> list[SentBatch]:
    """A last batch of each store once more: a store's minutes are published when something moves its time."""
    return [replace(batch, seq=batch.seq + 1) for batch in batches if batch.final]


def of_stores(tables: Tables, *stores: str) -> list[Row]:
    rows = [*tables.visits(version=False), *tables.minutes(version=False)]
    return [row for row in rows if row["store_id"] in stores]
