"""Dead letters: every reason is described, and what a replay would come to is judged by the code that emits them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from footfall_cli.deadletters import (
    Bench,
    Choice,
    Letter,
    Record,
    batch_facts,
    grouped,
    impossible,
    obstacle,
    parse_offsets,
    parse_place,
    read_letters,
)
from footfall_cli.main import main
from footfall_cli.quarantine import described
from footfall_events.dead_letters import REASONS, Cure
from footfall_events.errors import ConfigError
from footfall_events.topics import SIGHTINGS, VISITS
from footfall_streams.fold import StoreJob
from footfall_streams.state import State

from tests.property.worlds import START_MS, SentBatch, Sighting, Tables, chain, messages, run

ROOT = Path(__file__).resolve().parents[2]
DEVICE = 11_000_000_000_000_000_000
ROWS = (Sighting("a", DEVICE, START_MS, 1000, -60), Sighting("a", DEVICE, START_MS + 5000, 1000, -60))
BATCH = SentBatch("a", 7, START_MS + 60_000, ROWS)


def emitted(*folders: str) -> set[str]:
    """Every reason that stands in the code: in a PoisonEvent, in the name of a constant, or beside a dead letter."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).glob("*.py"):
            found |= set(_reasons(ast.parse(path.read_text())))
    return found


def _reasons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            argument = {"PoisonEvent": 0, "dead_letter": 2}.get(name)
            if argument is not None and len(node.args) > argument and isinstance(node.args[argument], ast.Constant):
                yield node.args[argument].value  # type: ignore[attr-defined]
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "UNPACKS_TO_TOO_MUCH":
            yield ast.literal_eval(node.value)


def test_the_reasons_described_are_those_that_the_stages_give() -> None:
    stages = ("streams/footfall_events", "streams/footfall_streams", "sinks/footfall_sinks")
    assert emitted(*stages) == set(REASONS)


@pytest.mark.parametrize("guide", ["streams", "sinks"])
def test_every_reason_of_a_stage_is_in_its_guide(guide: str) -> None:
    own = emitted("streams/footfall_streams") if guide == "streams" else emitted("sinks/footfall_sinks")
    text = (ROOT / guide / "README.md").read_text()
    assert {reason for reason in own if f"`{reason}`" not in text} == set()


def letter(reason: str, **changes: Any) -> Letter:
    found = Letter(3, 5, START_MS, b"s", 100, reason, SIGHTINGS.name, "sightings.v1[0]@12")
    return replace(found, **changes)


CLOCK_REACHED = Bench(chain(), BATCH.clock_ms)


@pytest.mark.parametrize(
    ("reason", "batch", "bench", "said"),
    [
        pytest.param("unknown_sensor", BATCH, CLOCK_REACHED, "", id="the sensor is configured now"),
        pytest.param(
            "unknown_sensor",
            replace(BATCH, sensor="c"),
            CLOCK_REACHED,
            "it would come back: the store's configuration has no such sensor",
            id="it is not",
        ),
        pytest.param("unknown_sensor", replace(BATCH, sensor="c"), Bench(None, 0), "", id="nobody knows: sent"),
        pytest.param("unknown_store", BATCH, CLOCK_REACHED, "", id="the store is configured now"),
        pytest.param(
            "unknown_store",
            replace(BATCH, sensor="c"),
            CLOCK_REACHED,
            "it would come back as unknown_sensor",
            id="the store is, its sensor is not",
        ),
        pytest.param("wrong_partition", BATCH, Bench(None, 0), "", id="a replay places the key rightly"),
        pytest.param("wrong_schema", BATCH, Bench(None, 0), "", id="this release can read it"),
        pytest.param("clock_ahead", BATCH, CLOCK_REACHED, "--reason clock_ahead", id="a clock, not asked for by name"),
        pytest.param("clock_ahead", BATCH, replace(CLOCK_REACHED, named="clock_ahead"), "", id="the clock was reached"),
        pytest.param(
            "clock_ahead",
            BATCH,
            Bench(chain(), BATCH.clock_ms - 120_001, "clock_ahead"),
            "it would come back",
            id="one millisecond short of the lead",
        ),
        pytest.param(
            "clock_ahead",
            BATCH,
            Bench(None, BATCH.clock_ms - 1, "clock_ahead"),
            "it would come back",
            id="without a configuration no lead is granted",
        ),
        pytest.param(
            "clock_ahead", BATCH, Bench(None, BATCH.clock_ms, "clock_ahead"), "", id="without one, just reached"
        ),
        pytest.param("quarantined", BATCH, CLOCK_REACHED, "--reason quarantined", id="quarantined, not asked for"),
        pytest.param("quarantined", BATCH, Bench(None, 0, "quarantined"), "", id="quarantined, asked for by name"),
        pytest.param("of_tomorrow", BATCH, CLOCK_REACHED, "does not know the reason", id="a newer release's reason"),
    ],
)
def test_what_a_replay_of_a_batch_would_come_to(reason: str, batch: SentBatch, bench: Bench, said: str) -> None:
    found = obstacle(letter(reason), batch.value(), bench)
    assert (found == "") if said == "" else (said in found)


@pytest.mark.parametrize("reason", [name for name, reason in REASONS.items() if reason.cure is Cure.NEVER])
def test_what_no_replay_cures_is_refused_although_it_could_be_read(reason: str) -> None:
    assert "no replay cures it" in obstacle(letter(reason), BATCH.value(), replace(CLOCK_REACHED, named=reason))


@pytest.mark.parametrize("topic", [SIGHTINGS.name, VISITS.name])
def test_bytes_that_this_release_cannot_read_either_would_come_back(topic: str) -> None:
    assert "it would come back" in obstacle(letter("not_arrow", topic=topic), b"no", CLOCK_REACHED)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(letter("unknown_store"), "", id="an ordinary letter"),
        pytest.param(letter("not_arrow", size=0), "", id="an empty message"),
        pytest.param(letter("not_arrow", topic="checkpoints.v1"), "no topic", id="of a topic that has no letters"),
        pytest.param(letter("store_rejected", omitted=9), "9 bytes", id="whose bytes did not fit"),
        pytest.param(letter("unpacks_to_too_much"), "sightings.v1[0]@12", id="whose bytes nobody could read"),
    ],
)
def test_which_letters_nobody_can_send_back(found: Letter, said: str) -> None:
    assert (impossible(found) == "") if said == "" else (said in impossible(found))


def test_rows_beyond_the_horizon_are_not_cured_by_a_longer_horizon() -> None:
    """A visit, then a day of quiet, then a sighting that once belonged to it: raising the horizon makes it a second."""
    minute = 60_000
    visit = tuple(Sighting("a", DEVICE, START_MS + n * minute, 0, -50) for n in range(1, 8))
    quiet = [SentBatch("a", n, START_MS + n * 30 * minute, ()) for n in range(2, 80)]
    late = SentBatch(
        "a", 100, START_MS + 10 * minute, (Sighting("a", DEVICE, START_MS + 9 * minute, 0, -50),), boot="b"
    )
    log = messages([SentBatch("a", 1, START_MS + 8 * minute, visit), *quiet, late, late])
    short, long = chain(revision_horizon_s=3600), chain(revision_horizon_s=7 * 86_400)
    job = StoreJob(short, lambda key: 0)
    state: State = {}
    tables = Tables()
    for message in log[:-1]:
        step = job.take([message])
        state.update(step.state[0])
        tables.add(step)
    assert (len(tables.visits()), len(tables.dead)) == (1, 1)
    raised = StoreJob(long, lambda key: 0)
    raised.restore(0, 0, state)
    tables.add(raised.take([log[-1]]))
    tables.add(
        raised.take([replace(log[-2], value=replace(quiet[-1], seq=200, clock_ms=START_MS + 3000 * minute).value())])
    )
    assert len(tables.visits()) == 2
    assert len(run(log, config=long).visits()) == 1


def record(number: int, /, **headers: str) -> Record:
    """A message of the first partition of `deadletters.v1`."""
    value = None if "replayed" in headers else b"x"
    return Record(0, number, b"s", value, {name: text.encode() for name, text in headers.items()}, START_MS)


def test_a_letter_is_open_until_a_note_names_it() -> None:
    first = record(4, reason="unknown_store", topic="sightings.v1", partition="1", offset="9")
    second = record(5, reason="unknown_store", topic="sightings.v1", partition="1", offset="10")
    note = record(7, replayed="0:4", topic="sightings.v1", partition="1", offset="80")
    letters = read_letters([first, second, note])
    assert [(one.place, one.came_from, one.replayed) for one in letters] == [
        ("0:4", "sightings.v1[1]@9", "sightings.v1[1]@80"),
        ("0:5", "sightings.v1[1]@10", ""),
    ]
    assert [one.place for one in letters if Choice().takes(one)] == ["0:5"]
    assert [one.place for one in letters if Choice(replayed_too=True).takes(one)] == ["0:4", "0:5"]


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(reason="unknown_store"), True),
        (Choice(reason="not_arrow"), False),
        (Choice(topic="visits.v1"), False),
        (Choice(store="s"), True),
        (Choice(store="t"), False),
        (Choice(partition=3, offsets=range(5, 6)), True),
        (Choice(partition=2), False),
        (Choice(partition=3, offsets=range(6, 9)), False),
    ],
)
def test_which_letters_are_meant(choice: Choice, taken: bool) -> None:
    assert choice.takes(letter("unknown_store")) is taken


@pytest.mark.parametrize("key", [None, b"", b"02:00:00:aa:bb:cc", b"\xff\xfe", b"a b", b"\x1b[2J"])
def test_a_key_that_is_no_name_is_not_shown(key: bytes | None) -> None:
    assert letter("wrong_key", key=key).store == "-"


def test_a_foreign_message_is_a_letter_without_a_reason_and_cannot_move_the_cursor() -> None:
    (found,) = read_letters([record(0, reason="\x1b[2Jx")])
    assert found.reason == "[2Jx"
    (found,) = read_letters([record(0)])
    assert (found.reason, found.topic, found.came_from) == ("-", "-", "?[?]@?")


def test_letters_are_counted_by_reason_topic_and_store() -> None:
    letters = [letter("not_arrow", at_ms=START_MS + 1000), letter("not_arrow"), letter("not_arrow", key=b"t")]
    facts = [group.facts() for group in grouped(letters)]
    assert [(one["store"], one["letters"], one["bytes"], one["first"], one["last"]) for one in facts] == [
        ("s", 2, 200, "2026-01-05 03:00:00Z", "2026-01-05 03:00:01Z"),
        ("t", 1, 100, "2026-01-05 03:00:00Z", "2026-01-05 03:00:00Z"),
    ]


def test_a_batch_is_described_without_a_device() -> None:
    facts = batch_facts(SIGHTINGS.name, BATCH.value())
    assert facts["rows"] == 2
    assert facts["observed_at"] == "2026-01-05 03:00:00Z to 2026-01-05 03:00:05Z"
    assert (facts["sensor_id"], facts["boot_id"], facts["batch_seq"]) == ("a", "boot", "7")
    assert str(DEVICE) not in str(facts)
    assert "wrong_schema" in batch_facts(VISITS.name, BATCH.value())["refused"]


@pytest.mark.parametrize("number", [str(DEVICE), f"{DEVICE:x}", hex(DEVICE)])
def test_an_error_is_described_without_a_device(number: str) -> None:
    assert described(KeyError(f"no {number} here")) == "KeyError: 'no … here'"


@pytest.mark.parametrize("text", ["", "3", "3:", "a:1", "3:-1", "3:1:2"])
def test_a_place_that_is_none_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_place(text)


@pytest.mark.parametrize(("text", "wanted"), [("7", range(7, 8)), ("7-9", range(7, 10)), ("7-7", range(7, 8))])
def test_offsets_are_one_or_a_range_with_both_ends(text: str, wanted: range) -> None:
    assert parse_offsets(text) == wanted


@pytest.mark.parametrize("text", ["", "9-7", "-3", "3-", "x"])
def test_a_range_that_is_none_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_offsets(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["list", "--reason", "broken"], "must be one of not_arrow", id="an unknown reason"),
        pytest.param(["list", "--offset", "3"], "--offset needs --partition", id="an offset without its partition"),
        pytest.param(["show", "x"], "PARTITION:OFFSET", id="no place"),
        pytest.param(
            ["replay", "--partition", "0", "--offset", "9-3"], "first and the last", id="a range turned round"
        ),
        pytest.param(["replay", "--config", "nowhere.toml"], "nowhere.toml: cannot be read", id="no configuration"),
        pytest.param(["quarantine"], "--config (FOOTFALL_CONFIG)", id="a search without the configuration"),
        pytest.param(["quarantine", "--messages", "0"], "--messages is 0", id="a search for nothing"),
        pytest.param(["quarantine", "--offset", "3"], "--offset needs --partition", id="a mark without a partition"),
    ],
)
def test_a_mistake_ends_with_2_before_any_broker_is_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOOTFALL_CONFIG", raising=False)
    # Nobody listens there: asking would end with 1.
    assert main(["deadletters", *arguments, "--bootstrap", "127.0.0.1:1"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "show", "replay", "quarantine"])
def test_every_action_has_a_help_with_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["deadletters", action, "--help"])
    assert left.value.code == 0
    assert re.search(rf"examples:\n +footfall deadletters {action}\b", capsys.readouterr().out)
