"""Per-minute counters of each store, kept equal to what its presences say by adding differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.presences import NEVER_ENTERED, Fold, PresenceRows
from footfall_streams.segments import distinct, ranges, run_starts
from footfall_streams.sorted_runs import SortedRuns
from footfall_streams.watermark import MINUTE_MS

MINUTE = np.dtype(
    [
        ("key", "<i8"),  # (store << 32) | minute number since 1970; rows are sorted by it
        ("present", "<i4"),
        ("entries", "<i4"),
        ("exits", "<i4"),
        ("passers_by", "<i4"),
        ("pending", "<i4"),  # open presences that will add an entry or a passer-by here
        ("live", "<u8"),  # sensors with a batch clock in the minute, one bit each
        ("final", "u1"),
        ("touched", "u1"),  # looked at again when its store next publishes
        ("shown", "<u8"),  # fingerprint of what was last published, 0 = nothing yet
        ("written", "<u4"),  # segment of the journal that holds the row as it is, 0 = none
    ]
)
MinuteRows = Columns
"""Rows with the columns of MINUTE."""
COUNTS = ("present", "entries", "exits", "passers_by", "pending")
_STORE_SHIFT, _COUNT_BITS = 32, 3
_MINUTE_MASK = (1 << _STORE_SHIFT) - 1
_NO_MINUTE = np.iinfo(np.int64).max


def minute_keys(store: NDArray[np.int32], instant_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of the minutes that the instants fall into."""
    return (store.astype(np.int64) << _STORE_SHIFT) | (instant_ms // MINUTE_MS)


def stores_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return keys >> _STORE_SHIFT


def at_store(keys: NDArray[np.int64], stores: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of the same minutes at other stores."""
    moved: NDArray[np.int64] = (stores.astype(np.int64) << _STORE_SHIFT) | (keys & _MINUTE_MASK)
    return moved


def starts_ms(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return (keys & _MINUTE_MASK) * MINUTE_MS


class Deltas:
    """Differences to minute counters, collected piece by piece and added up once."""

    def __init__(self) -> None:
        self._codes: list[NDArray[np.int64]] = []
        self._amounts: list[NDArray[np.int32]] = []

    def add(self, column: str, keys: NDArray[np.int64], amount: int) -> None:
        self._codes.append((keys << _COUNT_BITS) | COUNTS.index(column))
        self._amounts.append(np.full(len(keys), amount, np.int32))

    def sums(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Distinct keys, ascending, and their net differences (one column per name in COUNTS)."""
        codes = np.concatenate([np.empty(0, np.int64), *self._codes])
        order = np.argsort(codes)
        codes = codes[order]
        heads = np.flatnonzero(run_starts([codes], len(codes)))
        amounts = np.concatenate([np.empty(0, np.int32), *self._amounts])[order]
        summed = np.add.reduceat(amounts, heads) if len(heads) else amounts
        changed = summed != 0
        codes, summed = codes[heads][changed], summed[changed]
        keys = codes >> _COUNT_BITS
        starts = run_starts([keys], len(keys))
        counts = np.zeros((int(starts.sum()), len(COUNTS)), np.int32)
        counts[np.cumsum(starts) - 1, codes & (2**_COUNT_BITS - 1)] = summed
        return keys[starts], counts


def _present_range(rows: PresenceRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last minute number at whose end the device was inside; last < first if at none."""
    entered = rows["entered"] != NEVER_ENTERED
    first = np.where(entered, -(-np.where(entered, rows["entered"], 0) // MINUTE_MS) - 1, 0)
    last = np.where(entered, np.where(entered, rows["left"], 0) // MINUTE_MS - 1, -1)
    return first, last


def _spans(store: NDArray[np.int32], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of every minute from first to last of each row."""
    base = store.astype(np.int64) << _STORE_SHIFT
    return ranges(base | first, (base | first) + np.maximum(last - first + 1, 0))


def _began(rows: PresenceRows) -> NDArray[np.int64]:
    """Where an open presence will add an entry, or a passer-by, ms."""
    began: NDArray[np.int64] = np.where(rows["entered"] != NEVER_ENTERED, rows["entered"], rows["first"])
    return began


def add_points(deltas: Deltas, rows: PresenceRows, sign: int) -> None:
    """What the presences add (sign 1) or took back (-1), but for `present`."""
    entered, closed = rows["entered"] != NEVER_ENTERED, rows["closed"] == 1
    store, first, began = rows["store"], rows["first"], _began(rows)
    inside, outside = closed & entered, closed & ~entered
    deltas.add("entries", minute_keys(store[inside], rows["entered"][inside]), sign)
    deltas.add("exits", minute_keys(store[inside], rows["left"][inside]), sign)
    deltas.add("passers_by", minute_keys(store[outside], first[outside]), sign)
    deltas.add("pending", minute_keys(store[~closed], began[~closed]), sign)


def add_fold(deltas: Deltas, fold: Fold) -> None:
    """The difference that one merge makes. A presence only grows, so mostly just its new minutes count."""
    before, after, group = fold.before, fold.after, fold.group
    # Open before and after, and begun in the same minute: the part took back what its group adds.
    as_before = _began(before) // MINUTE_MS == (_began(after) // MINUTE_MS)[group]
    as_before &= (before["closed"] == 0) & (after["closed"][group] == 0)
    groups, kept = _first_of_each(group, np.flatnonzero(as_before))
    add_points(deltas, before[_others(len(before), kept)], -1)
    add_points(deltas, after[_others(len(after), groups)], 1)
    first, last = _present_range(after)
    old_first, old_last = _present_range(before)
    # The first part of each group that was inside at some minute's end is kept; all others are taken back.
    was_inside = np.flatnonzero(old_last >= old_first)
    groups, kept = _first_of_each(group, was_inside)
    others = was_inside[_others(len(before), kept)[was_inside]]
    deltas.add("present", _spans(before["store"][others], old_first[others], old_last[others]), -1)
    fresh = _others(len(after), groups)
    deltas.add("present", _spans(after["store"][fresh], first[fresh], last[fresh]), 1)
    store = after["store"][groups]
    deltas.add("present", _spans(store, first[groups], old_first[kept] - 1), 1)
    deltas.add("present", _spans(store, old_last[kept] + 1, last[groups]), 1)


def _first_of_each(group: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups that some of these ascending places belong to, and the first place of each."""
    first = np.full(int(group.max(initial=-1)) + 1, -1)
    first[group[places[::-1]]] = places[::-1]
    groups = np.flatnonzero(first >= 0)
    return groups, first[groups]


def _others(length: int, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for every row but those at the places."""
    others = np.ones(length, bool)
    others[places] = False
    return others


class Minutes:
    """Every minute that may still change.

    `rows`, sorted by (store, minute), are those that are not final, and those touched since their store published; the
    others, a day's, are settled, and are recalled when something late changes them.
    """

    def __init__(self, stores: int) -> None:
        self.rows: MinuteRows = Columns.zeros(0, MINUTE)
        self._settled = SortedRuns()
        self._settled_upto = np.full(stores, -1)

    def parts(self) -> list[MinuteRows]:
        """All of them, settled or not."""
        return [self.rows, *self._settled.runs]

    def add(self, rows: MinuteRows) -> None:
        """Insert restored rows, keeping the order."""
        rows = rows[np.argsort(rows["key"], kind="stable")]
        self._insert(rows, np.searchsorted(self.rows["key"], rows["key"]))

    def forget(self, oldest_ms: NDArray[np.int64]) -> MinuteRows:
        """Drop, and return, all that began before the given instant of their store, but for those to be published."""
        gone = []
        for part in self.parts():
            past = starts_ms(part["key"]) < oldest_ms[stores_of(part["key"])]
            gone.append(part.take(np.flatnonzero(past & (part["touched"] == 0))))
        return Columns.concatenate(gone)

    def settle(self) -> None:
        """Set aside what is final, published and written."""
        rows = self.rows
        settled = rows.take(np.flatnonzero((rows["final"] == 1) & (rows["touched"] == 0) & (rows["written"] > 0)))
        np.maximum.at(self._settled_upto, stores_of(settled["key"]), settled["key"] & _MINUTE_MASK)
        self._settled.add(settled)

    def _recall(self, lowest: NDArray[np.int64], highest: NDArray[np.int64]) -> None:
        """Take back what is settled of these ranges of keys, which ascend."""
        reached = (lowest & _MINUTE_MASK) <= self._settled_upto[stores_of(lowest)]
        if reached.any() and self._settled.runs:
            found = self._settled.find(lowest[reached], highest[reached])
            self.add(Columns.concatenate([run.take(places) for run, places, _ in found]))

    def places(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of ascending distinct keys in `rows`; minutes not known yet are made."""
        at, known = self._look_up(keys)
        if not known.all():
            self._recall(keys[~known], keys[~known])
            at, known = self._look_up(keys)
            fresh = Columns.zeros(int((~known).sum()), MINUTE)
            fresh["key"] = keys[~known]
            self._insert(fresh, at[~known])
            at += np.cumsum(~known) - ~known
        return at

    def _look_up(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where keys are in `rows`, or would be, and which of them are."""
        at = np.searchsorted(self.rows["key"], keys)
        known = np.zeros(len(keys), bool)
        inside = at < len(self.rows)
        known[inside] = self.rows["key"][at[inside]] == keys[inside]
        return at, known

    def _insert(self, rows: MinuteRows, places: NDArray[np.int64]) -> None:
        self.rows.replace(np.empty(0, np.int64), rows, places)

    def apply(self, deltas: Deltas) -> None:
        """Add the differences."""
        keys, counts = deltas.sums()
        at = self.places(keys)
        for index, name in enumerate(COUNTS):
            self.rows[name][at] += counts[:, index]
        self._touch(at)

    def hear(self, keys: NDArray[np.int64], bits: NDArray[np.uint64]) -> None:
        """Note a batch clock of the sensor with the bit in each minute."""
        unique, index = np.unique(keys, return_inverse=True)
        at = self.places(unique)
        live = self.rows["live"][at].copy()
        np.bitwise_or.at(live, index, bits)
        changed = live != self.rows["live"][at]
        self.rows["live"][at] = live
        self._touch(at[changed])

    def _touch(self, places: NDArray[np.int64]) -> None:
        self.rows["touched"][places] = 1
        self.rows["written"][places] = 0

    def publish(
        self,
        due: NDArray[np.bool_],
        watermark_ms: NDArray[np.int64],
        gap_ms: NDArray[np.int64],
        hold: NDArray[np.int64],
    ) -> MinuteRows:
        """Rows to publish of the stores that are due (arguments by store number).

        A row is published once its minute is over and whenever it then differs. It is final when the gap has
        passed since its end, no open presence began in it, and it lies before `hold`, the first minute in
        which some open presence may still be inside.
        """
        held = np.flatnonzero(due & (hold != _NO_MINUTE))
        held_from, held_to = (held << _STORE_SHIFT) | hold[held], (held << _STORE_SHIFT) | _MINUTE_MASK
        self._recall(held_from, held_to)
        rows = self.rows
        flagged = np.flatnonzero((rows["touched"] == 1) | (rows["final"] == 0))
        # A late sighting may leave a presence open inside minutes that were final before it.
        low, high = (np.searchsorted(rows["key"], held_from), np.searchsorted(rows["key"], held_to, "right"))
        at = distinct(np.concatenate([flagged, ranges(low, high)]))
        at = at[due[stores_of(rows["key"][at])]]
        store, minute = stores_of(rows["key"][at]), rows["key"][at] & _MINUTE_MASK
        end = (minute + 1) * MINUTE_MS
        over = end <= watermark_ms[store]
        at, store, minute, end = at[over], store[over], minute[over], end[over]
        final = (end + gap_ms[store] < watermark_ms[store]) & (rows["pending"][at] == 0) & (minute < hold[store])
        was_final = rows["final"][at].copy()
        rows["final"][at] = final
        rows["touched"][at] = 0
        # What was counted and taken back between two publications differs in nothing and is not sent.
        shown = _fingerprint(rows[at])
        news = shown != rows["shown"][at]
        rows["shown"][at] = shown
        rows["written"][at[news | (final != was_final)]] = 0
        published: NDArray[np.int64] = at[news]
        return rows[published]


def _fingerprint(rows: MinuteRows) -> NDArray[np.uint64]:
    """64 bits of everything that is published of a row but its key and version."""
    mixed = np.full(len(rows), 0x243F6A8885A308D3, np.uint64)
    values = [rows["final"], np.bitwise_count(rows["live"]), *(rows[name] for name in COUNTS if name != "pending")]
    for value in values:
        mixed = (mixed ^ value.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def holds(rows: PresenceRows, stores: int) -> NDArray[np.int64]:
    """By store number: the first minute in which an open presence may still be inside, or leave."""
    hold = np.full(stores, _NO_MINUTE)
    inside = np.flatnonzero(rows["closed"] == 0)
    inside = inside[rows["entered"][inside] != NEVER_ENTERED]
    np.minimum.at(hold, rows["store"][inside], rows["left"][inside] // MINUTE_MS)
    return hold
