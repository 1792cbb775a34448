"""Presences: chains of one device's sightings at one store, and which visits they make.

All columns of a presence are minima, maxima and sums over its sightings, so merging is the same operation
whether two sightings, a sighting and a presence, or two presences meet, in whatever order they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from footfall_events.schemas import Role
from numpy.typing import NDArray

from footfall_streams.segments import run_starts
from footfall_streams.store_days import StoreDayArray, StoreDays

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
    ]
)
PresenceArray = NDArray[np.void]
_IDENTITY = ("store", "device", "epoch", "day")


@dataclass(frozen=True)
class Fold:
    """What one merge did: row i of `before` belonged to the group that became `after[group[i]]`."""

    before: PresenceArray
    after: PresenceArray
    group: NDArray[np.int64]


def identity_hash(rows: PresenceArray) -> NDArray[np.uint64]:
    """Well-mixed 64 bits of (store, device, epoch, day); equal identities have equal hashes."""
    mixed = rows["device"].astype(np.uint64)
    other = (rows["store"].astype(np.uint64) << np.uint64(32)) | rows["day"].astype(np.uint32).astype(np.uint64)
    mixed = mixed ^ (other * np.uint64(0x9E3779B97F4A7C15))
    mixed = mixed ^ (rows["epoch"].astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(29))


def single_sightings(rows: PresenceArray, days: StoreDayArray, rssi: NDArray[np.int16]) -> PresenceArray:
    """Complete rows that hold one sighting each (store, device, epoch, first, last, class, touched given).

    `rssi` is the known signal in dBm and at or above the day's `passer_by_dbm`.
    """
    rows["day"], rows["rssi"], rows["sightings"] = days["day"], rssi, 1
    rows["entered"] = np.where(rssi >= days["enter_dbm"], rows["first"], NEVER_ENTERED)
    rows["left"] = np.where(rssi >= days["stay_dbm"], rows["last"], NEVER_NEAR)
    rows["closes_at"] = np.minimum(rows["last"] + days["gap_ms"] + 1, days["end_ms"])
    rows["closed"] = 0
    rows["key"] = identity_hash(rows)
    return rows


def chains(rows: PresenceArray, gap_ms: NDArray[np.int64]) -> tuple[PresenceArray, NDArray[np.int64]]:
    """Merge rows of one identity whose silences are at most the gap; (merged rows, group of each input row).

    A silence runs from the end of what is there to the next start; one of exactly the gap does not split.
    """
    order = np.lexsort((rows["first"], *(rows[name] for name in _IDENTITY)))
    ordered, gap = rows[order], gap_ms[order]
    new_identity = run_starts((ordered[name] for name in _IDENTITY), len(rows))
    # A running maximum of the ends within each identity: lift each identity above the one before, by no more
    # than the rows' own span of time, or the millions of identities of a chunk would overflow.
    earliest = int(ordered["first"].min(initial=np.iinfo(np.int64).max))
    width = int(ordered["last"].max(initial=0)) - earliest + 1
    lift = (np.cumsum(new_identity) - 1) * width - earliest
    reach = np.maximum.accumulate(ordered["last"] + lift)
    starts = new_identity.copy()
    starts[1:] |= ordered["first"][1:] + lift[1:] > reach[:-1] + gap[1:]
    heads = np.flatnonzero(starts)
    merged = ordered[heads].copy()
    for name, reduce in (
        ("first", np.minimum),
        ("last", np.maximum),
        ("entered", np.minimum),
        ("left", np.maximum),
        ("sightings", np.add),
        ("rssi", np.maximum),
        ("class", np.maximum),
        ("touched", np.maximum),
        ("closes_at", np.maximum),
    ):
        merged[name] = reduce.reduceat(ordered[name], heads)
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(starts) - 1
    return merged, group


class Presences:
    """Every presence the worker's stores may still revise, sorted by identity hash.

    Presences of one identity never lie within a gap of each other.
    """

    def __init__(self) -> None:
        self.rows: PresenceArray = np.empty(0, PRESENCE)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: PresenceArray) -> None:
        """Insert restored rows, keeping the order."""
        rows = rows[np.argsort(rows["key"], kind="stable")]
        self.rows = np.insert(self.rows, np.searchsorted(self.rows["key"], rows["key"], "right"), rows)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget every row where `mask` is False."""
        self.rows = self.rows[mask]

    def merge(self, sightings: PresenceArray, days: StoreDays) -> Fold:
        """Fold in single sightings, in any order; the merged rows are open until `close_due` says otherwise."""
        keys = np.unique(sightings["key"])
        low = np.searchsorted(self.rows["key"], keys, "left")
        counts = np.searchsorted(self.rows["key"], keys, "right") - low
        taken = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        before = self.rows[taken]
        together = np.concatenate([before, sightings])
        gap_ms = days.lookup(together["store"], together["first"])["gap_ms"].astype(np.int64)
        after, group = chains(together, gap_ms)
        after["closed"] = 0
        grown = np.zeros(len(after), bool)
        grown[group[len(before) :]] = True
        # A bystander of the same identity that nothing joined stays as it was, closed or not.
        untouched = ~grown[group[: len(before)]]
        after["closed"][group[: len(before)][untouched]] = before["closed"][untouched]
        remaining = np.delete(self.rows, taken)
        after_order = np.argsort(after["key"], kind="stable")
        places = np.searchsorted(remaining["key"], after["key"][after_order], "right")
        self.rows = np.insert(remaining, places, after[after_order])
        return Fold(before, after, group[: len(before)])

    def close_due(self, watermark_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Mark open rows that the watermark of their store has passed; their places in `rows`."""
        rows = self.rows
        due = np.flatnonzero((rows["closed"] == 0) & (rows["closes_at"] <= watermark_ms[rows["store"]]))
        rows["closed"][due] = 1
        return due


def dwell_s(rows: PresenceArray) -> NDArray[np.int64]:
    """Whole seconds between entering and leaving, rounded down; -1 where it never entered."""
    entered = rows["entered"] != NEVER_ENTERED
    return np.where(entered, (np.where(entered, rows["left"], 0) - np.where(entered, rows["entered"], 0)) // 1000, -1)


def roles(rows: PresenceArray, days: StoreDayArray) -> NDArray[np.int8]:
    """Role code of each presence under the rule of its business day."""
    staff = rows["last"] - rows["first"] > days["max_visit_ms"]
    staff |= (rows["first"] < days["open_ms"]) | (rows["last"] > days["close_ms"])
    dwell = dwell_s(rows)
    role = np.where(dwell < days["min_dwell_s"], Role.BOUNCED, Role.VISITOR)
    role = np.where(dwell < 0, Role.PASSER_BY, role)
    return np.where(staff, Role.STAFF_OR_FIXED, role).astype(np.int8)
