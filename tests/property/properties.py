"""What the project promises of the pure core, each promise as a function of a seed that raises AssertionError.

The tests call them with hypothesis' seeds; test_teeth.py calls the same ones on a core broken by hand.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from footfall_events.sighting_batches import decode_sightings
from footfall_streams.columns import Columns
from footfall_streams.fold import StoreJob
from footfall_streams.state import read_json

from tests.oracle.compare import differences, from_query, report
from tests.oracle.minutes import store_minutes
from tests.oracle.store_settings import Row
from tests.oracle.visits import visits_of
from tests.property.adversary import nasty_world
from tests.property.checkpoints import as_format_1, rows_held
from tests.property.reference import COUNTS, MINUTE_MS, ROW_LEAD_MS, VISIT_COLUMNS, Reference
from tests.property.runs import SMALL, Worker, chunks, one_by_one, random_cuts, run_world
from tests.property.worlds import STORE, SentBatch, Sighting, World, pseudonym, world

HOUR_MS = 3_600_000


def _dense_world(random: Random) -> World:
    return World(({**STORE, "allowed_lateness_s": 30, "stale_after_s": 300},), {"s": 0}, tuple(world(random)))


def _any_world(random: Random, *, wide: bool = False) -> World:
    """A nasty world, or one in which few devices are heard often by two sensors in good health."""
    return nasty_world(random, wide=wide) if random.random() < 0.7 else _dense_world(random)


def _shuffled(random: Random, found: World) -> World:
    """Any order, some batches twice, the final one of each store last."""
    last = len(found.stores)
    body, ends = found.batches[:-last], found.batches[-last:]
    again = random.choices(body, k=len(body) // 3) if body else []
    return found.with_batches([*random.sample([*body, *again], len(body) + len(again)), *ends])


def _assert_same_tables(got: Worker, wanted: Worker, *, version: bool = True) -> None:
    assert_same_rows(got.tables.visits(version=version), wanted.tables.visits(version=version))
    assert_same_rows(got.tables.minutes(version=version), wanted.tables.minutes(version=version))


def assert_same_rows(got: list[Row], wanted: list[Row]) -> None:
    if got != wanted:
        surplus, missing = ([row for row in one if row not in other] for one, other in ((got, wanted), (wanted, got)))
        raise AssertionError(f"surplus: {surplus[:3]}, missing: {missing[:3]}")


def assert_none(differences_found: list[str]) -> None:
    assert not differences_found, report("tables", differences_found)


def any_chunking(seed: int) -> None:
    """Any chunking gives the tables of message by message, versions included."""
    random = Random(seed)
    found = _any_world(random)
    wanted = run_world(found, one_by_one(len(found.batches)))
    for most in (1, 10):
        _assert_same_tables(run_world(found, random_cuts(random, len(found.batches), most)), wanted)


def any_chunking_of_shuffled_batches(seed: int) -> None:
    """The same when batches come in any order, some of them twice."""
    random = Random(seed)
    found = _shuffled(random, _any_world(random))
    wanted = run_world(found, one_by_one(len(found.batches)))
    _assert_same_tables(run_world(found, random_cuts(random, len(found.batches))), wanted)


def any_worker(seed: int) -> None:
    """Partitions share nothing: any interleaving of them, and a worker for each, give the same tables."""
    random = Random(seed)
    found = nasty_world(random)
    wanted = run_world(found, random_cuts(random, len(found.batches)))
    apart = found.with_batches(sorted(found.batches, key=lambda batch: found.partitions[batch.store]))
    _assert_same_tables(run_world(apart, random_cuts(random, len(apart.batches))), wanted)
    alone = Worker(found)
    for partition in set(found.partitions.values()):
        mine = [message for message in found.log() if message.partition == partition]
        other = Worker(found)
        for chunk in chunks(mine, random_cuts(random, len(mine)) if len(mine) > 1 else []):
            alone.tables.add(other.take(chunk))
    _assert_same_tables(alone, wanted)


def any_order(seed: int) -> None:
    """Batches within the horizon in any order, some of them twice, give the same tables but for version."""
    random = Random(seed)
    found = _any_world(random, wide=True)
    shuffled = _shuffled(random, found)
    for one in (found, shuffled):
        assert not any(store.too_late for store in Reference(one).after(one.batches).stores.values())
    in_order = run_world(found, random_cuts(random, len(found.batches)))
    other = run_world(shuffled, random_cuts(random, len(shuffled.batches)))
    _assert_same_tables(other, in_order, version=False)


def the_oracle_agrees(seed: int) -> None:
    """With nothing beyond the horizon, the tables are those of the oracle, which knows neither clocks nor chunks."""
    random = Random(seed)
    found = _any_world(random, wide=True)
    tables = run_world(found, random_cuts(random, len(found.batches))).tables
    visits = from_query(tables.visits(), ["first_seen_at", "last_seen_at", "entered_at", "left_at"])
    minutes = from_query(tables.minutes(), ["minute"])
    for store in found.stores:
        mine = [batch for batch in found.batches if batch.store == store["id"]]
        once = {batch.identity: batch for batch in mine}.values()
        wanted = visits_of([row.oracle_row(batch.epoch) for batch in once for row in batch.sightings], store, pseudonym)
        clocks = {name: [batch.clock_ms for batch in once if batch.sensor == name] for name in store["sensors"]}
        got = [row for row in visits if row["store_id"] == store["id"]]
        assert_none(differences(wanted, got, VISIT_COLUMNS))
        got = [row for row in minutes if row["store_id"] == store["id"]]
        columns = ("minute_ms", "business_date", *COUNTS, "is_final")
        assert_none(differences(store_minutes(wanted, clocks, store), got, columns))


def after_every_chunk(seed: int) -> None:
    """After every chunk: visits alive are the closed presences, minutes are what they said when last published."""
    random = Random(seed)
    found = nasty_world(random)
    cuts = random_cuts(random, len(found.batches), 12)
    reference, worker = Reference(found), Worker(found)
    for chunk, batches in zip(chunks(found.log(), cuts), chunks(found.batches, cuts), strict=True):
        worker.take(chunk)
        reference.after(batches)
        assert_none(reference.differences(worker.tables))


def restarts(seed: int) -> None:
    """A worker restored from its checkpoint, at any place, goes on as if nothing had happened."""
    random = Random(seed)
    found = _shuffled(random, _any_world(random))

    def restart(worker: Worker) -> None:
        assert _remembered(worker.restored()) == _remembered(worker.job)
        if random.random() < 0.6:
            worker.restart()

    wanted = run_world(found, one_by_one(len(found.batches)))
    _assert_same_tables(run_world(found, random_cuts(random, len(found.batches), 20), restart), wanted)


def _remembered(job: StoreJob, *, written: bool = True) -> tuple[bytes, bytes, dict[str, int]]:
    """Presences, minutes and watermarks. A minute's mark that it was looked at is no state: it changes nothing.

    Without `written` it may lie anywhere in the checkpoint.
    """
    presences, minutes = (Columns.concatenate(of.parts()).records() for of in (job.presences, job.minutes))
    presences.sort(order=["key", "store", "device", "epoch", "day", "first"])
    minutes.sort(order="key")
    minutes["touched"] = 0
    if not written:
        presences["written"], minutes["written"] = 0, 0
    return presences.tobytes(), minutes.tobytes(), job.watermarks()


def beyond_the_horizon(seed: int) -> None:
    """Sightings beyond the horizon change no row, and are dead-lettered as a batch of their own, and counted."""
    random = Random(seed)
    found = nasty_world(random)
    at = random.randrange(1, len(found.batches))
    store = Reference(found).after(found.batches[:at]).stores[found.batches[at - 1].store]
    if store.horizon_ms < 10_000:
        return  # nothing is beyond it yet
    starts = [store.horizon_ms - random.choice([1, 1, 1000, 10_000]) for _ in range(random.randrange(1, 4))]
    strays = tuple(Sighting("a", random.choice([1, 2, 3]), start, 10_000, -40) for start in starts)
    stray = SentBatch("a", 0, store.watermark_ms, strays, store=store.store["id"], boot="stray")
    empty = replace(stray, sightings=())
    with_strays, clean = (
        run_world(found.with_batches([*found.batches[:at], one, *found.batches[at:]]), one_by_one(at + 1))
        for one in (stray, empty)
    )
    _assert_same_tables(with_strays, clean)
    letters = list((Counter(with_strays.tables.dead) - Counter(clean.tables.dead)).elements())
    assert len(letters) == 1
    header, rows = decode_sightings(letters[0])
    assert (header.boot_id, header.batch_seq, header.sensor_clock_ms) == ("stray", 0, stray.clock_ms)
    assert rows.column("observed_at").cast("int64").to_pylist() == starts
    assert rows.column("device_id").to_pylist() == [one.device for one in strays]
    more = with_strays.counts - clean.counts
    assert more["dropped_sightings/beyond_horizon"] == len(strays)
    assert more["dead_letters/beyond_horizon"] == 1


def forgetting(seed: int) -> None:
    """What the horizon has passed is forgotten, and the checkpoint holds little more than what is remembered."""
    random = Random(seed)
    found = nasty_world(random)
    stores = {store["id"]: Reference(found).stores[store["id"]] for store in found.stores}
    most: Counter[str] = Counter()
    most_in_a_step: Counter[str] = Counter()

    def check(worker: Worker) -> None:
        rows, minutes = (Columns.concatenate(of.parts()) for of in (worker.job.presences, worker.job.minutes))
        for number, name in enumerate(sorted(stores)):
            mine, of_mine = rows[rows["store"] == number], minutes[minutes["key"] >> 32 == number]
            starts_ms = (of_mine["key"] & 0xFFFFFFFF) * MINUTE_MS
            # It forgets when the watermark enters a minute, and ten minutes at once.
            seen_ms = worker.job.watermarks().get(name, 0) // MINUTE_MS * MINUTE_MS
            horizon_ms = seen_ms - stores[name].store["revision_horizon_s"] * 1000
            oldest_ms = (horizon_ms - stores[name].gap_ms) // 600_000 * 600_000
            assert (mine["last"] >= oldest_ms).all()
            assert (starts_ms >= oldest_ms - 26 * HOUR_MS).all()
            assert all(clock >= horizon_ms - ROW_LEAD_MS for clock in _boot_clocks(worker, name))
        held, stepped = rows_held(worker.checkpoint), rows_held(worker.changed)
        for kind, there_are in (("presences", len(rows)), ("minutes", len(minutes))):
            # What a step both made and forgot lies there, as marks, until later steps write as much.
            most[kind], most_in_a_step[kind] = max(most[kind], there_are), max(most_in_a_step[kind], stepped[kind])
            slack = len(worker.checkpoint) * SMALL.slack_rows + 2 * most_in_a_step[kind]
            assert held[kind] <= (SMALL.times + 1) * most[kind] + slack

    run_world(found, random_cuts(random, len(found.batches), 20), check)


def state_of_format_1(seed: int) -> None:
    """A worker that finds the state of a release that wrote format 1 goes on with it, and replaces it."""
    random = Random(seed)
    found = _shuffled(random, _any_world(random))
    at = random.randrange(1, len(found.batches))
    old, new = Worker(found), Worker(found)
    log, cuts = found.log(), random_cuts(random, at)
    # The same chunks for both: a minute that was counted and taken back within one is remembered, as zeros, or not.
    for chunk in chunks(log[:at], cuts):
        old.take(chunk)
        new.take(chunk)
    new.checkpoint = as_format_1(new.checkpoint, new.job, found)
    new.restart()
    assert _remembered(new.job, written=False) == _remembered(old.job, written=False)
    for message in log[at:]:
        counted = new.counts["batches"]
        new.take([message])
        if new.counts["batches"] > counted:
            assert not [key for key in new.checkpoint[message.partition] if key.count(b"/") == 2]
    old.take(log[at:])
    _assert_same_tables(new, old)


def a_store_that_leaves(seed: int) -> None:
    """What is remembered of a store that leaves the configuration is there when it returns."""
    random = Random(seed)
    found = nasty_world(random)
    gone = random.choice(found.stores)["id"]
    left, back = sorted(random.choices(range(len(found.batches) + 1), k=2))
    kept = [batch for batch in found.batches[left:back] if batch.store != gone]
    found = found.with_batches([*found.batches[:left], *kept, *found.batches[back:]])
    wanted, worker, log = Worker(found), Worker(found), found.log()
    rest = replace(found, stores=tuple(store for store in found.stores if store["id"] != gone))
    if not rest.stores:
        return  # a chain has at least one
    for begin, end, now in ((0, left, found), (left, left + len(kept), rest), (left + len(kept), len(log), found)):
        worker.restart(now)
        for at in range(begin, end):
            worker.take([log[at]])
            wanted.take([log[at]])
            if random.random() < 0.2:
                worker.restart(now)
    _assert_same_tables(worker, wanted)
    assert _remembered(worker.job, written=False) == _remembered(wanted.job, written=False)


def _boot_clocks(worker: Worker, name: str) -> list[int]:
    key = f"clock/{name}".encode()
    found = [read_json(entries[key]) for entries in worker.checkpoint.values() if key in entries]
    return [clock_ms for clock in found for clock_ms, _ in clock["boots"].values()]
