"""The tables are a function of the log: not of chunking, restarts, arrival order or repetition."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from footfall_streams.fold import StoreJob
from footfall_streams.state import State
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.minutes import store_minutes
from tests.oracle.visits import visits_of
from tests.property.worlds import START_MS, STORE, SentBatch, Sighting, Tables, chain, messages, run, world

seeds = st.integers(0, 2**32)
quick = settings(max_examples=12, deadline=None)


def _shuffled(random: Random, batches: Sequence[SentBatch]) -> list[SentBatch]:
    """Any order within the horizon, some batches twice, the final one last."""
    body = list(batches[:-1]) + random.choices(batches[:-1], k=len(batches) // 3)
    random.shuffle(body)
    return [*body, batches[-1]]


@given(seeds)
@quick
def test_any_chunking_gives_the_tables_of_message_by_message(seed: int) -> None:
    random = Random(seed)
    log = messages(world(random))
    one_by_one = run(log, range(1, len(log)))
    cuts = sorted(random.sample(range(1, len(log)), random.randrange(0, 12)))
    chunked = run(log, cuts)
    assert chunked.visits() == one_by_one.visits()
    assert chunked.minutes() == one_by_one.minutes()


@given(seeds)
@quick
def test_any_chunking_of_shuffled_batches_gives_the_tables_of_message_by_message(seed: int) -> None:
    random = Random(seed)
    log = messages(_shuffled(random, world(random)))
    one_by_one = run(log, range(1, len(log)))
    chunked = run(log, sorted(random.sample(range(1, len(log)), random.randrange(0, 12))))
    assert chunked.visits() == one_by_one.visits()
    assert chunked.minutes() == one_by_one.minutes()


@given(seeds)
@quick
def test_shuffled_and_repeated_batches_give_the_same_tables_but_for_version(seed: int) -> None:
    random = Random(seed)
    batches = world(random)
    in_order, shuffled = run(messages(batches)), run(messages(_shuffled(random, batches)))
    assert shuffled.visits(version=False) == in_order.visits(version=False)
    assert shuffled.minutes(version=False) == in_order.minutes(version=False)


@given(seeds)
@quick
def test_the_tables_equal_the_oracles(seed: int) -> None:
    batches = world(Random(seed))
    tables = run(messages(batches))
    heard = [one.oracle_row() for batch in batches for one in batch.sightings]
    visits = visits_of(heard, STORE, lambda mac, day: (int(mac), 1))
    clocks = {name: [b.clock_ms for b in batches if b.sensor == name] for name in "ab"}
    minutes = store_minutes(visits, clocks, STORE)
    got = [
        (row["visit_id"], row["role"], row["dwell_s"], row["sightings"], row["engaged"], row["business_date"])
        for row in tables.visits()
    ]
    wanted = [
        (row["visit_id"], row["role"], row["dwell_s"], row["sightings"], bool(row["engaged"]), row["business_date"])
        for row in visits
    ]
    assert sorted(got) == sorted(wanted)
    names = ("sensors_live", "present", "entries", "exits", "passers_by", "is_final")
    assert [(int(r["minute"].timestamp() * 1000), *(r[n] for n in names)) for r in tables.minutes()] == [
        (r["minute_ms"], *(r[n] for n in names)) for r in minutes
    ]


@given(seeds)
@quick
def test_a_worker_restored_from_its_checkpoint_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    random = Random(seed)
    log = messages(_shuffled(random, world(random)))
    cuts = sorted(random.sample(range(1, len(log)), 6))
    state: State = {}
    tables = Tables()
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        job = StoreJob(chain(), lambda key: 0)
        job.restore(0, 0, {key: value for key, value in state.items() if value is not None})
        step = job.take(log[start:end])
        state.update(step.state[0])
        tables.add(step)
    assert tables.visits() == run(log).visits()
    assert tables.minutes() == run(log).minutes()


@given(seeds)
@quick
def test_a_sighting_beyond_the_horizon_changes_no_row_and_is_dead_lettered(seed: int) -> None:
    random = Random(seed)
    config = chain(revision_horizon_s=3600)
    batches = world(random)
    stray = Sighting("b", 1, START_MS - 3_600_000, 0, -50)
    late = SentBatch("b", 10_000, batches[-1].clock_ms, (stray,))
    without = SentBatch("b", 10_000, batches[-1].clock_ms, ())
    with_stray = run(messages([*batches[:-1], late, batches[-1]]), config=config)
    clean = run(messages([*batches[:-1], without, batches[-1]]), config=config)
    assert with_stray.visits() == clean.visits()
    assert with_stray.minutes() == clean.minutes()
    assert len(with_stray.dead) == len(clean.dead) + 1
