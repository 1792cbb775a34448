"""Small stories that meet one edge each, as properties of a seed like those of properties.py.

In all of them the tables are compared with the reference after every message or chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from operator import itemgetter
from random import Random
from typing import Any

from tests.oracle.store_settings import Row
from tests.property.properties import HOUR_MS, assert_none, assert_same_rows
from tests.property.reference import MINUTE_MS, ROW_LEAD_MS, Reference
from tests.property.runs import Worker, chunks, one_by_one, random_cuts, visits_in
from tests.property.worlds import START_MS, STORE, SentBatch, Sighting, World

NEAR, FAINT = -50, -80


def _store(**changes: Any) -> Row:
    return {**STORE, "allowed_lateness_s": 0, "stale_after_s": 300, "revision_horizon_s": 86_400, **changes}


def _rule(gap_s: int) -> Row:
    return {"name": "edge", "gap_s": gap_s}


def _compare(store: Row, batches: Sequence[SentBatch], cuts: Iterable[int]) -> None:
    """Take the batches in chunks; the tables are the reference's after each."""
    world = World((store,), {"s": 0}, tuple(batches))
    reference, worker = Reference(world), Worker(world)
    places = list(cuts)
    for chunk, taken in zip(chunks(world.log(), places), chunks(batches, places), strict=True):
        worker.take(chunk)
        reference.after(taken)
        assert_none(reference.differences(worker.tables))


def closing(seed: int) -> None:
    """The watermark stops beside a presence's gap, a cut-over and a minute's finality."""
    random = Random(seed)
    gap_s = random.choice([1, 60, 900])
    start_ms = START_MS + random.choice([30, 59, 60, 61]) * MINUTE_MS + random.choice([0, -1, 1])
    span_ms = random.choice([0, 1, 10_000])
    end_ms, cut_ms = start_ms + span_ms, START_MS + HOUR_MS
    minute_ms = start_ms // MINUTE_MS * MINUTE_MS
    edges = [end_ms + gap_s * 1000, cut_ms, minute_ms + MINUTE_MS, minute_ms + MINUTE_MS + gap_s * 1000]
    beats = [max(start_ms, random.choice(edges) + random.choice([-1, 0, 1])) for _ in range(random.randrange(1, 5))]
    seqs = count(1)
    batches = [SentBatch("a", 0, start_ms, (Sighting("a", 1, start_ms, span_ms, random.choice([NEAR, FAINT])),))]
    batches += [SentBatch("a", next(seqs), clock_ms, ()) for clock_ms in sorted(beats)]
    again = Sighting("a", 1, max(beats) - random.choice([0, 1]), 0, random.choice([NEAR, FAINT]))
    batches += [SentBatch("a", next(seqs), max(beats), (again,)), SentBatch("a", next(seqs), max(beats), (), True)]
    _compare(_store(rule=_rule(gap_s)), batches, one_by_one(len(batches)))


def finality(seed: int) -> None:
    """A device that is heard on and on, but faintly: near again, it was there all the time."""
    random = Random(seed)
    gap_ms = 120_000
    seqs, times = count(), [START_MS]
    for _ in range(random.randrange(6, 10)):
        times.append(times[-1] + random.choice([gap_ms, gap_ms // 2, MINUTE_MS]))

    def one(sensor: str, at_ms: int, rssi_dbm: int, device: int = 1) -> SentBatch:
        return SentBatch(sensor, next(seqs), at_ms, (Sighting(sensor, device, at_ms, 0, rssi_dbm),))

    batches = [one("a", at_ms, FAINT) for at_ms in times]
    near = one("b", START_MS - random.choice([0, 1, gap_ms]), NEAR)
    batches.insert(random.choice([0, len(times) - 1, len(times)]), near)
    # Another device touches minutes and takes it back.
    batches += [one("b", START_MS + minute * MINUTE_MS, FAINT, 2) for minute in (3, 2)]
    last_ms = times[-1] + random.choice([MINUTE_MS, gap_ms])
    batches.append(one("a", last_ms, random.choice([NEAR, FAINT])))
    batches += [SentBatch("a", next(seqs), last_ms + after_ms, ()) for after_ms in (MINUTE_MS, HOUR_MS)]
    _compare(_store(rule=_rule(gap_ms // 1000)), batches, random_cuts(random, len(batches), len(batches)))


def a_neighbour_at_the_horizon(seed: int) -> None:
    """A presence ends about a gap behind the horizon, and a sighting starts about at it, in time or not."""
    random = Random(seed)
    horizon_s, gap_s = random.choice([0, 1, 60, 3600]), random.choice([1, 60, 900])
    # About the cut-over or not: the watermark must enter a minute, and its ten minutes, for anything to be forgotten.
    end_ms = START_MS + random.choice([10, 60, 70]) * MINUTE_MS + random.choice([0, -1, 1])
    span_ms = random.choice([0, 1, 10_000])
    horizon_ms = end_ms + gap_s * 1000 + random.choice([-1, 0, 0, 1])
    watermark_ms = horizon_ms + horizon_s * 1000
    joining = Sighting("a", 1, horizon_ms + random.choice([0, 0, 1, -1]), 0, NEAR)
    batches = [
        SentBatch("a", 0, end_ms - span_ms, (Sighting("a", 1, end_ms - span_ms, span_ms, NEAR),)),
        *(SentBatch("a", 1 + seq, watermark_ms - back, ()) for seq, back in enumerate((MINUTE_MS, 0))),
        *[SentBatch("a", 3, watermark_ms, (joining,))] * 2,
        SentBatch("a", 4, watermark_ms + HOUR_MS, (), final=True),
    ]
    store = _store(rule=_rule(gap_s), revision_horizon_s=horizon_s)
    _compare(store, batches, random.choice([one_by_one(6), [3], [2, 3]]))


def a_batch_sent_twice_at_the_horizon(seed: int) -> None:
    """A batch comes again when the horizon is about at its clock, or at its row, which may be ahead of its clock."""
    random = Random(seed)
    horizon_s = random.choice([0, 1, 60, 3600])
    clock_ms = START_MS + random.randrange(10 * MINUTE_MS)
    row_ms = clock_ms + random.choice([0, 1, 10_000, ROW_LEAD_MS])
    twice = SentBatch("a", 0, clock_ms, (Sighting("a", 1, row_ms, 0, NEAR),), random.choice([False, False, True]))
    edge_ms = random.choice([clock_ms, clock_ms + 1, row_ms - 1, row_ms, clock_ms + ROW_LEAD_MS])
    watermark_ms = edge_ms + horizon_s * 1000 + random.choice([0, 0, 1])
    batches = [
        twice,
        *(SentBatch("b", seq, watermark_ms - back, ()) for seq, back in enumerate((MINUTE_MS, 0))),
        twice,
        SentBatch("b", 2, watermark_ms + MINUTE_MS, ()),
        twice,
        SentBatch("b", 3, watermark_ms + HOUR_MS, (), final=True),
    ]
    _compare(_store(revision_horizon_s=horizon_s), batches, random.choice([one_by_one(7), [3], [4, 5]]))


def a_reopened_visit(seed: int) -> None:
    """A closed visit that a late sighting extends is withdrawn at once, and stands again when it closes again."""
    random = Random(seed)
    length_ms, gap_ms = random.choice([0, 1, 600_000]), 900_000
    later = length_ms + random.choice([gap_ms, gap_ms - 1, gap_ms // 2])
    _leaves_no_phantom(random, [0, length_ms], later, length_ms + gap_ms + 1 + random.choice([0, gap_ms // 2 - 1]))


def a_joined_visit(seed: int) -> None:
    """Two closed visits that a sighting between them joins are both withdrawn; one stands in their place."""
    random = Random(seed)
    gap_ms = 900_000
    second = random.choice([gap_ms + 1, 2 * gap_ms, gap_ms + gap_ms // 2])
    between = random.randrange(max(1, second - gap_ms), min(gap_ms, second - 1) + 1)
    _leaves_no_phantom(random, [0, second], between, second + gap_ms + 1 + random.choice([0, 2 * gap_ms]))


def a_visit_that_starts_earlier(seed: int) -> None:
    """A closed visit of which an earlier sighting comes is withdrawn: its start is part of its name."""
    random = Random(seed)
    length_ms, gap_ms = random.choice([0, 1, 600_000]), 900_000
    earlier = -random.choice([1, gap_ms, gap_ms - 1, gap_ms // 2])
    _leaves_no_phantom(random, [0, length_ms], earlier, length_ms + gap_ms + 1 + random.choice([0, 2 * gap_ms]))


def _leaves_no_phantom(random: Random, heard_ms: list[int], late_ms: int, closed_ms: int) -> None:
    """Visits of the sightings heard are closed by the watermark; then one of another sensor comes late."""
    start_ms = START_MS + 2 * HOUR_MS + random.randrange(MINUTE_MS)
    rows = [Sighting("a", 1, start_ms + at_ms, 0, random.choice([NEAR, FAINT])) for at_ms in heard_ms]
    batches = [SentBatch("a", seq, row.observed_ms, (row,)) for seq, row in enumerate(rows)]
    batches.append(SentBatch("a", 9, start_ms + closed_ms, ()))
    before = len(batches)
    late = Sighting("b", 1, start_ms + late_ms, 0, random.choice([NEAR, FAINT]))
    batches += [SentBatch("b", 0, late.observed_ms, (late,)), SentBatch("b", 1, late.observed_ms, ())]
    batches.append(SentBatch("a", 10, start_ms + 24 * HOUR_MS, (), final=True))
    world = World((_store(),), {"s": 0}, tuple(batches))
    reference, worker = Reference(world), Worker(world)
    cuts = [*random_cuts(random, before, 2), before, before + 1 + random.randrange(2)]
    for chunk, taken in zip(chunks(world.log(), cuts), chunks(batches, cuts), strict=True):
        stood = worker.tables.visits(version=False)
        step = worker.take(chunk)
        assert_none(reference.after(taken).differences(worker.tables))
        if late in [row for batch in taken for row in batch.sightings]:
            # Whatever stood and stands no more is withdrawn with the columns it stood with.
            alive = {row["visit_id"] for row in worker.tables.visits()}
            gone = [{**row, "deleted": 1} for row in stood if row["visit_id"] not in alive]
            withdrawn = [{k: v for k, v in row.items() if k != "version"} for row in visits_in(step) if row["deleted"]]
            assert_same_rows(sorted(withdrawn, key=itemgetter("visit_id")), sorted(gone, key=itemgetter("visit_id")))
            assert gone, "no visit was withdrawn"
