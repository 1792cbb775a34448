"""Teeth: each promise is broken by one subtly wrong rule at a time, and its property must notice.

The same seed is run on the sound core and must pass, so that no property can be one that always fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import footfall_streams.fold as fold
import footfall_streams.journal as journal
import footfall_streams.minutes as minutes
import footfall_streams.presences as presences
import footfall_streams.segments as segments
import numpy as np
import pytest
from footfall_streams.columns import Columns
from footfall_streams.fold import StoreJob
from footfall_streams.journal import Journals
from footfall_streams.minutes import Minutes
from footfall_streams.presences import Presences
from footfall_streams.watermark import Boot, StoreClock

from tests.property import edges, properties

Break = Callable[[pytest.MonkeyPatch], None]
TRIES = 60


def _wrap(owner: Any, name: str, wrong: Callable[..., Any]) -> Break:
    """Replace a function of the core by one that gets the right one first."""
    right = getattr(owner, name)

    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, lambda *args, **more: wrong(right, *args, **more))

    return apply


def _set(owner: Any, name: str, wrong: Any) -> Break:
    return lambda patch: patch.setattr(owner, name, wrong)


# -- presences ---------------------------------------------------------------------------------------------


def _gap_longer_by(ms: int) -> Break:
    return _wrap(presences, "chains", lambda right, rows, gap_ms: right(rows, gap_ms + ms))


def _closes_early(right: Any, *args: Any) -> Any:
    rows = right(*args)
    rows["closes_at"] -= 1
    return rows


def _ends_at_start(right: Any, told: Any, days: Any) -> Any:
    return right({**told, "last": told["first"]}, days)


def _joins_across_cutover(right: Any, told: Any, days: Any) -> Any:
    found = right(told, days)
    found["day"] = found["day"] // 2
    found["key"] = presences.identity_hash(found)
    return found


def _stays_from_enter(right: Any, told: Any, days: Any) -> Any:
    found = right(told, days)
    found["left"][found["entered"] == presences.NEVER_ENTERED] = presences.NEVER_NEAR
    return found


def _recalls_less(gap_ms: int = 0, watermark_ms: int = 0) -> Break:
    def wrong(right: Any, some: Any, sightings: Any, watermark: Any, gap: Any) -> None:
        right(some, sightings, watermark - watermark_ms, gap - gap_ms)

    return _wrap(Presences, "recall", wrong)


# -- rows to send ------------------------------------------------------------------------------------------


def _withholding(kind: str) -> Break:
    """Withdrawals of one kind are not sent."""

    def wrong(right: Any, job: StoreJob, revised: Any, step: Any) -> None:
        kept = []
        for rows, offsets, deleted in revised.visits:
            sent = np.array([not deleted[i] or _kind(job, row, rows) != kind for i, row in enumerate(rows)], bool)
            kept.append((rows[sent], offsets[sent], deleted[sent]))
        revised.visits = kept
        right(job, revised, step)

    return _wrap(StoreJob, "_write_visits", wrong)


def _kind(job: StoreJob, gone: Any, beside: Any) -> str:
    """Why a visit is withdrawn, from the presence that it is part of now."""
    rows = Columns.concatenate(job.presences.parts())
    same = np.logical_and.reduce([rows[name] == gone[name] for name in ("store", "device", "epoch", "day")])
    (now,) = rows[same & (rows["first"] <= gone["first"]) & (rows["last"] >= gone["last"])]
    if now["first"] == gone["first"]:
        return "reopened"
    return "joined" if now["first"] in beside["first"] else "starts earlier"


def _newest_offset(right: Any, job: StoreJob, pieces: Any, stores: Any, closed: Any) -> Any:
    newest = {piece.batch.store: piece.batch.message.offset for piece in pieces}
    return np.array([newest[store] for store in closed["store"].tolist()], np.int64)


def _newest_of_all(right: Any, job: StoreJob, pieces: Any, stores: Any, closed: Any) -> Any:
    return np.full(len(closed), max(piece.batch.message.offset for piece in pieces))


# -- chunks, batches, memory -------------------------------------------------------------------------------


def _one_round(right: Any, job: StoreJob, batches: Any, step: Any) -> Any:
    return [replace(piece, round=0) for piece in right(job, batches, step)]


def _highest_only(boot: Boot, seq: int) -> bool:
    if boot.taken and seq <= boot.taken[-1][1]:
        return False
    boot.taken = [[0, seq]]
    return True


def _forgets_early(right: Any, job: StoreJob, taken: Any, revised: Any) -> None:
    job._horizon_ms = job._horizon_ms - 1
    right(job, taken, revised)
    job._horizon_ms = job._horizon_ms + 1


def _horizon_too_near(clock: StoreClock) -> int:
    return clock.watermark_ms - clock.config.revision_horizon_s * 1000 + 1


def _lowest_of_all(clock: StoreClock, final: bool) -> int:
    newest = max(clock.sensors.values())
    return (
        newest + clock.longest_gap_ms + 60_001
        if final
        else min(clock.sensors.values()) - clock.config.allowed_lateness_s * 1000
    )


def _never_final(right: Any, clock: StoreClock, final: bool) -> int:
    bound: int = right(clock, False)
    return bound


def _boots_too_early(clock: StoreClock) -> None:
    clock.boots = {name: boot for name, boot in clock.boots.items() if boot.clock_ms >= clock.horizon_ms}


def _without(kind: bytes) -> Break:
    def wrong(right: Any, job: StoreJob, partition: int, epoch: int, state: Any) -> None:
        right(job, partition, epoch, {key: value for key, value in state.items() if not key.startswith(kind)})

    return _wrap(StoreJob, "restore", wrong)


def _no_tombstones(right: Any, *args: Any) -> Any:
    return [entry for entry in right(*args) if entry[2] is not None]


def _no_marks(right: Any, journals: Any, rows: Any, gone: Any, partitions: Any) -> Any:
    return right(journals, rows, gone[:0], partitions)


def _leaves_rows_behind(right: Any, *args: Any) -> Any:
    upto, entries = right(*args)
    return np.minimum(upto, 0), entries


def _oldest_of_each(keys: list[Any]) -> Any:
    return len(keys[0]) - 1 - segments.last_of_each([key[::-1] for key in keys])


def _newest_first(right: Any, journals: Any, *args: Any) -> Any:
    for partition, sizes in journals._segments.items():
        journals._segments[partition] = dict(reversed(sizes.items()))
    return right(journals, *args)


def _closes_unwritten(right: Any, some: Any, watermark_ms: Any) -> Any:
    before = some.rows["written"].copy()
    due = right(some, watermark_ms)
    some.rows["written"][:] = before
    return due


def _forgets_absent(right: Any, journals: Any, *args: Any) -> Any:
    journals._absent.keep(np.zeros(len(journals._absent), bool))
    return right(journals, *args)


# -- minutes -----------------------------------------------------------------------------------------------


def _inside_at_start(right: Any, rows: Any) -> Any:
    first, last = right(rows)
    return first + 1, last + 1


def _leaves_before_end(right: Any, rows: Any) -> Any:
    shifted = rows.copy()
    shifted["left"][rows["entered"] != presences.NEVER_ENTERED] -= 1
    return right(shifted)


def _never_holds(right: Any, rows: Any, stores: int) -> Any:
    return np.full(stores, np.iinfo(np.int64).max)


def _blind_to_final(right: Any, rows: Any) -> Any:
    same = rows.copy()
    same["final"] = 0
    return right(same)


def _recalls_single_minutes(right: Any, some: Any, lowest: Any, highest: Any) -> None:
    single = lowest == highest
    right(some, lowest[single], highest[single])


BROKEN = [
    pytest.param(properties.the_oracle_agrees, _gap_longer_by(-1), id="a silence of exactly the gap splits"),
    pytest.param(properties.the_oracle_agrees, _gap_longer_by(1), id="a silence of a millisecond more does not"),
    pytest.param(
        edges.closing,
        _wrap(fold, "single_sightings", _closes_early),
        id="a presence closes when the watermark meets its gap",
    ),
    pytest.param(
        properties.the_oracle_agrees,
        _wrap(fold, "single_sightings", _ends_at_start),
        id="a sighting ends where it starts",
    ),
    pytest.param(
        properties.the_oracle_agrees,
        _wrap(fold, "single_sightings", _joins_across_cutover),
        id="a presence goes on over the cut-over",
    ),
    pytest.param(
        properties.the_oracle_agrees,
        _wrap(fold, "single_sightings", _stays_from_enter),
        id="only a near sighting counts as staying",
    ),
    pytest.param(
        properties.any_order,
        _set(Presences, "recall", lambda some, sightings, watermark_ms, gap_ms: None),
        id="a late sighting recalls nothing",
    ),
    pytest.param(
        properties.the_oracle_agrees, _recalls_less(gap_ms=1), id="a late sighting reaches a millisecond short"
    ),
    pytest.param(
        edges.closing, _recalls_less(watermark_ms=1), id="a sighting a millisecond before the watermark is on time"
    ),
    pytest.param(edges.a_reopened_visit, _withholding("reopened"), id="a reopened visit is not withdrawn"),
    pytest.param(edges.a_joined_visit, _withholding("joined"), id="a joined visit is not withdrawn"),
    pytest.param(
        edges.a_visit_that_starts_earlier,
        _withholding("starts earlier"),
        id="a visit that starts earlier is not withdrawn",
    ),
    pytest.param(
        properties.after_every_chunk,
        _withholding("starts earlier"),
        id="one that starts earlier is not withdrawn, in any world",
    ),
    pytest.param(
        properties.any_chunking,
        _wrap(StoreJob, "_closed_by", _newest_offset),
        id="a visit's version is that of its round's end",
    ),
    pytest.param(
        properties.any_worker, _wrap(StoreJob, "_closed_by", _newest_of_all), id="a visit's version is another store's"
    ),
    pytest.param(
        properties.any_chunking,
        _wrap(StoreJob, "_schedule", _one_round),
        id="minutes are published without the cut at the minute",
    ),
    pytest.param(
        properties.any_chunking_of_shuffled_batches,
        _wrap(StoreJob, "_schedule", _one_round),
        id="the same, with shuffled batches",
    ),
    pytest.param(
        properties.any_order, _set(Boot, "take", _highest_only), id="a batch is known by the highest sequence"
    ),
    pytest.param(properties.any_order, _set(Boot, "take", lambda boot, seq: True), id="no batch is known"),
    pytest.param(
        properties.after_every_chunk,
        _set(StoreClock, "_bound", _lowest_of_all),
        id="a stale sensor holds the watermark",
    ),
    pytest.param(properties.restarts, _without(b"presences/"), id="presences are not restored"),
    pytest.param(properties.restarts, _without(b"minutes/"), id="minutes are not restored"),
    pytest.param(properties.restarts, _without(b"clock/"), id="clocks are not restored"),
    pytest.param(properties.restarts, _wrap(Journals, "write", _no_marks), id="nothing says that a presence is gone"),
    pytest.param(
        properties.restarts,
        _wrap(Journals, "_give_up", _leaves_rows_behind),
        id="rows of a segment that is given up are not moved",
    ),
    pytest.param(properties.restarts, _set(journal, "last_of_each", _oldest_of_each), id="the oldest segment wins"),
    pytest.param(
        properties.restarts, _wrap(Journals, "_give_up", _newest_first), id="the newest segment is given up first"
    ),
    pytest.param(
        properties.restarts, _wrap(Presences, "close_due", _closes_unwritten), id="that a visit closed is not written"
    ),
    pytest.param(
        properties.a_store_that_leaves,
        _wrap(Journals, "write", _forgets_absent),
        id="rows of a store that left are not moved",
    ),
    pytest.param(
        properties.state_of_format_1,
        _wrap(Journals, "write", _no_tombstones),
        id="entries of an older release stay in the checkpoint",
    ),
    pytest.param(
        properties.forgetting,
        _wrap(Journals, "write", _no_tombstones),
        id="segments that are given up stay in the checkpoint",
    ),
    pytest.param(properties.beyond_the_horizon, _set(StoreClock, "horizon_ms", 0), id="nothing is beyond the horizon"),
    pytest.param(
        edges.a_neighbour_at_the_horizon,
        _set(StoreClock, "horizon_ms", property(_horizon_too_near)),
        id="what starts at the horizon is beyond it",
    ),
    pytest.param(
        properties.after_every_chunk,
        _set(StoreClock, "is_beyond", lambda clock, header: False),
        id="a batch wholly beyond the horizon counts",
    ),
    pytest.param(
        edges.a_neighbour_at_the_horizon,
        _wrap(StoreJob, "_forget", _forgets_early),
        id="presences are forgotten a millisecond early",
    ),
    pytest.param(
        edges.a_batch_sent_twice_at_the_horizon,
        _set(StoreClock, "forget", _boots_too_early),
        id="boots are forgotten at the horizon",
    ),
    pytest.param(
        properties.forgetting, _set(StoreJob, "_forget", lambda job, taken, revised: None), id="nothing is forgotten"
    ),
    pytest.param(
        properties.the_oracle_agrees, _wrap(StoreClock, "_bound", _never_final), id="a final batch closes nothing"
    ),
    pytest.param(
        properties.the_oracle_agrees,
        _wrap(minutes, "_present_range", _inside_at_start),
        id="present is taken at the minute's start",
    ),
    pytest.param(
        properties.the_oracle_agrees,
        _wrap(minutes, "_present_range", _leaves_before_end),
        id="who leaves at a minute's very end is not present",
    ),
    pytest.param(
        edges.finality, _wrap(fold, "holds", _never_holds), id="a minute is final while someone may still be inside"
    ),
    pytest.param(
        properties.any_order,
        _set(Minutes, "_recall", lambda some, lowest, highest: None),
        id="a minute that had settled begins anew",
    ),
    pytest.param(
        edges.finality,
        _wrap(Minutes, "_recall", _recalls_single_minutes),
        id="a minute that had settled is final while someone may be inside",
    ),
    pytest.param(
        properties.after_every_chunk,
        _wrap(minutes, "_fingerprint", _blind_to_final),
        id="a minute is not sent again when it is final",
    ),
]


def _notices(check: Callable[[int], None], seed: int) -> bool:
    try:
        check(seed)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize(("check", "break_it"), BROKEN)
def test_a_broken_rule_is_noticed(check: Callable[[int], None], break_it: Break) -> None:
    for seed in range(TRIES):
        with pytest.MonkeyPatch.context() as patch:
            break_it(patch)
            noticed = _notices(check, seed)
        if noticed:
            check(seed)
            return
    pytest.fail(f"broken, and {TRIES} worlds did not notice")
