"""What the benchmarks rest on: a truth that the worker agrees with, turns that are fair, and results that stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from footfall_events.rows import decode_rows
from footfall_events.schemas import VISITS as VISIT_SCHEMA
from footfall_events.topics import VISITS
from footfall_streams.events import Message
from footfall_streams.fold import StoreJob

from tests.bench import results
from tests.bench.report import Figure, Report, alternate, at_least, at_most
from tests.bench.streams import together
from tests.bench.workload import SESSION, Workload

SMALL = Workload(stores=3, devices=60, sightings=1200)


@pytest.mark.parametrize("rows_a_batch", [7, 100, 2000])
def test_the_worker_finds_the_sessions_of_the_sightings_however_they_are_cut(rows_a_batch: int) -> None:
    job = StoreJob(SMALL.chain, lambda key: 0)
    log = [Message(0, at, key, value, 2**42) for at, (key, value) in enumerate(SMALL.batches(rows_a_batch))]
    sent = [one.value for one in job.take(log).outputs[0] if one.topic == VISITS.name]
    visits = pa.Table.from_batches([decode_rows(value, VISIT_SCHEMA) for value in sent])
    found = np.zeros(visits.num_rows, SESSION)
    found["store"] = [int(name[-4:]) for name in visits.column("store_id").to_pylist()]
    for ours, theirs in (("device", "device_id"), ("sightings", "sightings")):
        found[ours] = visits.column(theirs).to_numpy()
    for ours, theirs in (("first", "first_seen_at"), ("last", "last_seen_at")):
        found[ours] = visits.column(theirs).cast(pa.int64()).to_numpy()
    assert np.array_equal(np.sort(found), SMALL.sessions)
    assert sum(SMALL.minutes.values()) == SMALL.sightings == len(list(SMALL.json_messages()))


def test_contenders_take_turns_and_turns_turn_round() -> None:
    turns: list[str] = []

    def contender(name: str) -> float:
        turns.append(name)
        return len(turns)

    found = alternate({name: lambda name=name: contender(name) for name in "abc"}, 3, lambda text: None)  # type: ignore[misc]
    assert "".join(turns) == "abccbaabc"
    assert found == {"a": (1, 6, 7), "b": (2, 5, 8), "c": (3, 4, 9)}


def test_of_workers_side_by_side_only_the_time_counts_in_which_all_of_them_worked() -> None:
    one = [(1.0, 100.0), (2.0, 200.0), (3.0, 300.0)]
    later = [(1.5, 100.0), (2.5, 200.0), (9.0, 900.0)]
    assert together([one, later]) == pytest.approx(((300 - 150) + (200 + 0.5 / 6.5 * 700 - 100)) / 1.5)


def report(name: str, speed: float) -> Report:
    figure = Figure("a case", "Footfall", "rows/s", (speed, 2 * speed, 4 * speed))
    return Report(
        name, f"What {name} does.", (figure,), (at_least("speed", 5, speed), at_most("cost", 1, 2, "it rains"))
    )


def test_a_section_takes_the_place_of_the_one_before_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\nOn these figures.\n", encoding="utf-8")
    results.write([report("one", 1000), report("two", 1)], path)
    results.write([report("one", 4321)], path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\nOn these figures.\n\n## one\n")
    assert text.count("## one") == text.count("## two") == 1
    assert "| a case | Footfall | 8,640 | 4,320 to 17,300 | rows/s |  |" in text
    assert "| a case | Footfall | 2 | 1 to 4 | rows/s |  |" in text
    assert "| speed | >= 5 | 4,320 | met |" in text
    assert "| cost | <= 1 | 2 | **missed** |\n\n- cost: it rains\n" in text
