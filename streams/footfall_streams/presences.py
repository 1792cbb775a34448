"""Presences: chains of one device's sightings at one store, and which visits they make.

All columns of a presence are minima, maxima and sums over its sightings, so merging is the same operation
whether two sightings, a sighting and a presence, or two presences meet, in whatever order they arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from footfall_events.schemas import Role
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.segments import Groups, distinct, ranges, run_starts
from footfall_streams.sorted_runs import SortedRuns
from footfall_streams.store_days import StoreDayRows, StoreDays

NEVER_ENTERED = np.iinfo(np.int64).max
NEVER_NEAR = np.iinfo(np.int64).min

PRESENCE = np.dtype(
    [
        ("key", "<u8"),  # hash of the identity below; rows are sorted by it
        ("store", "<i4"),
        ("device", "<u8"),
        ("epoch", "<u4"),
        ("day", "<i4"),
        ("first", "<i8"),  # start of the first sighting, ms
        ("last", "<i8"),  # latest end, ms
        ("entered", "<i8"),  # earliest start at or above enter_dbm, else NEVER_ENTERED
        ("left", "<i8"),  # latest end at or above stay_dbm, else NEVER_NEAR
        ("sightings", "<u4"),
        ("rssi", "i1"),
        ("class", "i1"),
        ("touched", "<i8"),  # offset of the last batch that added a sighting
        ("closes_at", "<i8"),  # the watermark at which nothing on time can join any more
        ("closed", "u1"),  # 1 = its visit stands downstream
        ("written", "<u4"),  # segment of the journal that holds the row as it is, 0 = none
    ]
)
PresenceRows = Columns
"""Rows with the columns of PRESENCE."""
HEARD = ("device", "first", "last", "rssi", "class")
"""What a sensor tells of each sighting."""
_MERGED = {
    "entered": np.minimum,
    "left": np.maximum,
    "sightings": np.add,
    "rssi": np.maximum,
    "class": np.maximum,
    "touched": np.maximum,
    "closes_at": np.maximum,
}
"""How these columns of a chain follow from its rows; but for the latest end, the others are those of its first row."""
_IDENTITY = ("store", "device", "epoch", "day")


@dataclass(frozen=True)
class Fold:
    """What one merge did: row i of `before` belonged to the group that became `after[group[i]]`."""

    before: PresenceRows
    after: PresenceRows
    group: NDArray[np.int64]


def identity_hash(rows: PresenceRows) -> NDArray[np.uint64]:
    """Well-mixed 64 bits of (store, device, epoch, day); equal identities have equal hashes."""
    other = (rows["store"].astype(np.uint64) << np.uint64(32)) | rows["day"].astype(np.uint32).astype(np.uint64)
    mixed = rows["device"] ^ (other * np.uint64(0x9E3779B97F4A7C15))
    mixed = mixed ^ (rows["epoch"].astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(29))
    return hashed


def single_sightings(told: Mapping[str, NDArray[Any]], days: StoreDayRows) -> PresenceRows:
    """Rows that hold one sighting each; `told` are its store, epoch and touched, and what is in HEARD.

    `rssi` is the known signal in dBm and at or above the day's `passer_by_dbm`.
    """
    first, last, rssi = told["first"], told["last"], told["rssi"]
    columns = {
        **told,
        "day": days["day"],
        "entered": np.where(rssi >= days["enter_dbm"], first, NEVER_ENTERED),
        "left": np.where(rssi >= days["stay_dbm"], last, NEVER_NEAR),
        "sightings": np.ones(len(first)),
        "closes_at": np.minimum(last + days["gap_ms"] + 1, days["end_ms"]),
    }
    columns["key"] = identity_hash(Columns(columns))
    zeros = np.zeros(len(first))  # of what a single sighting does not say
    names = PRESENCE.names or ()
    return Columns({name: columns.get(name, zeros).astype(PRESENCE[name], copy=False) for name in names})


def _by_identity_and_start(rows: PresenceRows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Places of the rows by key and start, and which of them, in that order, begin another identity.

    One sort of one number does: the hash's upper bits above the start. Two identities that share those bits, which
    one chunk in some hundreds may hold, could lie in each other's way, so that they are looked for.
    """
    first = rows["first"]
    earliest = int(first.min(initial=NEVER_ENTERED))
    bits = np.uint64(max(int(first.max(initial=0)) - earliest, 0).bit_length())
    if bits <= 32:
        compact = (rows["key"] >> bits << bits) | (first - earliest).astype(np.uint64)
        order = np.argsort(compact)
        begins = _begins(rows, order)
        upper = compact[order] >> bits
        if not (begins[1:] & (upper[1:] == upper[:-1])).any():
            return order, begins
    order = np.lexsort((first, *(rows[name] for name in _IDENTITY), rows["key"]))
    return order, _begins(rows, order)


def _begins(rows: PresenceRows, order: NDArray[np.int64]) -> NDArray[np.bool_]:
    return run_starts((rows[name][order] for name in _IDENTITY), len(order))


def chains(rows: PresenceRows, gap_ms: NDArray[np.int64]) -> tuple[PresenceRows, NDArray[np.int64]]:
    """Merge rows of one identity whose silences are at most the gap; (merged rows by key, group of each input row).

    A silence runs from the end of what is there to the next start; one of exactly the gap does not split.
    """
    order, begins = _by_identity_and_start(rows)
    first, last = rows["first"][order], rows["last"][order]
    # A running maximum of the ends within each identity: lift each identity above the one before, by no more
    # than the rows' own span of time, or the millions of identities of a chunk would overflow.
    earliest = int(first.min(initial=np.iinfo(np.int64).max))
    width = int(last.max(initial=0)) - earliest + 1
    lift = (np.cumsum(begins) - 1) * width - earliest
    reach = np.maximum.accumulate(last + lift)
    starts = begins
    starts[1:] |= first[1:] + lift[1:] > reach[:-1] + gap_ms[order[1:]]
    groups = Groups(order, np.flatnonzero(starts))
    merged = {name: groups.reduce(function, rows[name]) for name, function in _MERGED.items()}
    # What reached before a chain ended before it began.
    merged["last"] = (reach - lift)[groups.heads + groups.lengths - 1]
    same = (name for name in PRESENCE.names or () if name not in merged)
    merged |= {name: rows[name][groups.first] for name in same}
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(starts) - 1
    return Columns(merged), group


class Presences:
    """Every presence the worker's stores may still revise.

    Presences of one identity never lie within a gap of each other. `rows`, sorted by identity hash, are those that
    what is on time can change; the others, many times as many, are settled, and only late sightings recall them.
    """

    def __init__(self) -> None:
        self.rows: PresenceRows = Columns.zeros(0, PRESENCE)
        self._settled = SortedRuns()

    def __len__(self) -> int:
        return len(self.rows) + len(self._settled)

    def parts(self) -> list[PresenceRows]:
        """All of them, settled or not."""
        return [self.rows, *self._settled.runs]

    def add(self, rows: PresenceRows) -> None:
        """Insert restored rows, keeping the order."""
        self._replace(np.empty(0, np.int64), rows[np.argsort(rows["key"], kind="stable")])

    def forget(self, oldest_ms: NDArray[np.int64]) -> PresenceRows:
        """Drop, and return, all that ended before the given instant of their store."""
        return Columns.concatenate(
            [part.take(np.flatnonzero(part["last"] < oldest_ms[part["store"]])) for part in self.parts()]
        )

    def settle(self, watermark_ms: NDArray[np.int64], gap_ms: NDArray[np.int64]) -> None:
        """Set aside what is closed and further behind its store's watermark than its longest gap."""
        closed = np.flatnonzero(self.rows["closed"] == 1)
        store = self.rows["store"][closed]
        self._settled.add(self.rows.take(closed[self.rows["last"][closed] + gap_ms[store] < watermark_ms[store]]))

    def recall(self, sightings: PresenceRows, watermark_ms: NDArray[np.int64], gap_ms: NDArray[np.int64]) -> None:
        """Take back what these sightings may join; arguments as for `settle`, the watermark from before them.

        Sightings on time begin more than a gap after all that is settled, so that those that are late decide: what
        chains a late one to a settled presence is within a gap of it itself, or that presence had been joined before.
        """
        if not self._settled.runs:
            return
        late = np.flatnonzero(sightings["first"] < watermark_ms[sightings["store"]])
        if not len(late):
            return
        order = late[np.argsort(sightings["key"][late])]
        keys, gap = sightings["key"][order], gap_ms[sightings["store"][order]]
        heads = np.flatnonzero(run_starts([keys], len(keys)))
        since = np.minimum.reduceat(sightings["first"][order] - gap, heads)
        until = np.maximum.reduceat(sightings["last"][order] + gap, heads)
        recalled = [
            run.take(places[(run["last"][places] >= since[which]) & (run["first"][places] <= until[which])])
            for run, places, which in self._settled.find(keys[heads], keys[heads])
        ]
        self.add(Columns.concatenate(recalled))

    def merge(self, sightings: PresenceRows, days: StoreDays) -> Fold:
        """Fold in single sightings, in any order; the merged rows are open until `close_due` says otherwise."""
        if not len(sightings):
            return Fold(sightings, sightings, np.empty(0, np.int64))
        # Most sightings of a chunk belong to a few presences: these are what meets those that are known.
        fresh, _ = chains(sightings, days.gap_ms(sightings["store"], sightings["first"]))
        taken = self._places(distinct(fresh["key"]))
        before = self.rows[taken]
        together = Columns.concatenate([before, fresh])
        after, group = chains(together, days.gap_ms(together["store"], together["first"]))
        after["closed"], after["written"] = 0, 0
        grown = np.zeros(len(after), bool)
        grown[group[len(before) :]] = True
        # A bystander of the same identity that nothing joined stays as it was, closed or not.
        untouched = ~grown[group[: len(before)]]
        for name in ("closed", "written"):
            after[name][group[: len(before)][untouched]] = before[name][untouched]
        self._replace(taken, after)
        return Fold(before, after, group[: len(before)])

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Places of the rows that have one of these keys, which ascend."""
        low = np.searchsorted(self.rows["key"], keys, "left")
        return ranges(low, np.searchsorted(self.rows["key"], keys, "right"))

    def _replace(self, gone: NDArray[np.int64], rows: PresenceRows) -> None:
        """Put rows, sorted by key, in the place of those that are gone."""
        remaining = np.delete(self.rows["key"], gone)
        self.rows.replace(gone, rows, np.searchsorted(remaining, rows["key"], "right"))

    def close_due(self, watermark_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Mark open rows that the watermark of their store has passed; their places in `rows`."""
        still_open = np.flatnonzero(self.rows["closed"] == 0)
        passed = self.rows["closes_at"][still_open] <= watermark_ms[self.rows["store"][still_open]]
        due: NDArray[np.int64] = still_open[passed]
        self.rows["closed"][due] = 1
        self.rows["written"][due] = 0
        return due


def dwell_s(rows: PresenceRows) -> NDArray[np.int64]:
    """Whole seconds between entering and leaving, rounded down; -1 where it never entered."""
    entered = rows["entered"] != NEVER_ENTERED
    return np.where(entered, (np.where(entered, rows["left"], 0) - np.where(entered, rows["entered"], 0)) // 1000, -1)


def roles(rows: PresenceRows, days: StoreDayRows) -> NDArray[np.int8]:
    """Role code of each presence under the rule of its business day."""
    staff = rows["last"] - rows["first"] > days["max_visit_ms"]
    staff |= (rows["first"] < days["open_ms"]) | (rows["last"] > days["close_ms"])
    dwell = dwell_s(rows)
    role = np.where(dwell < days["min_dwell_s"], Role.BOUNCED, Role.VISITOR)
    role = np.where(dwell < 0, Role.PASSER_BY, role)
    return np.where(staff, Role.STAFF_OR_FIXED, role).astype(np.int8)
