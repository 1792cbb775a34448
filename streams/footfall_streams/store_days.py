"""Which rule, which business date and which opening hours hold at an instant, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, overload

import numpy as np
from footfall_events.business_days import date_of, local_ms
from footfall_events.stores import OPEN_ALL_DAY, StoreConfig, StoreSettings
from numpy.typing import NDArray

from footfall_streams.columns import Columns
from footfall_streams.segments import distinct

DAY_MS = 86_400_000
_STORE_SHIFT = 44  # epoch ms stay below 2**44 until the year 2527
_FAR = np.iinfo(np.int64).max

STORE_DAY = np.dtype(
    [
        ("key", "<i8"),
        ("day", "<i4"),
        ("end_ms", "<i8"),
        ("open_ms", "<i8"),
        ("close_ms", "<i8"),
        ("gap_ms", "<i8"),
        ("max_visit_ms", "<i8"),
        ("min_dwell_s", "<i8"),
        ("engaged_s", "<i8"),
        ("enter_dbm", "<i2"),
        ("stay_dbm", "<i2"),
        ("passer_by_dbm", "<i2"),
        ("rule", "<i4"),
    ]
)
"""One business day of one store: its end, its opening hours with margin, and the rule valid on it."""


class StoreDayRows:
    """The business day of each of some instants; a column of STORE_DAY is gathered when it is asked for."""

    def __init__(self, table: Columns, places: NDArray[np.int64]) -> None:
        self._table, self.places = table, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, chosen: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, chosen: NDArray[Any] | slice) -> StoreDayRows: ...
    def __getitem__(self, chosen: str | NDArray[Any] | slice) -> NDArray[Any] | StoreDayRows:
        if isinstance(chosen, str):
            column: NDArray[Any] = self._table[chosen][self.places]
            return column
        return StoreDayRows(self._table, self.places[chosen])


class StoreDays:
    """The business days met so far, sorted by (store, start); a day is added when an instant first asks.

    Stores are numbered as in the list given. Grows with days times stores seen, some 100 bytes each.
    """

    def __init__(self, stores: Sequence[StoreConfig]) -> None:
        self._stores = list(stores)
        self._table = Columns.zeros(0, STORE_DAY)
        self._known: set[int] = set()
        gaps_s = [{version.rule.gap_s for version in store.versions} for store in self._stores]
        self._only_gap_ms = np.array([gaps.pop() * 1000 if len(gaps) == 1 else -1 for gaps in gaps_s], np.int64)
        self.rule_labels: list[str] = []

    def lookup(self, store: NDArray[np.int32], instant_ms: NDArray[np.int64]) -> StoreDayRows:
        """The business day of each (store, instant)."""
        # All business days that overlap an instant's UTC day are in the table before it is searched.
        wanted = distinct((store.astype(np.int64) << 32) | (instant_ms // DAY_MS))
        missing = [code for code in wanted.tolist() if code not in self._known]
        if missing:
            self._add(missing)
        keys = (store.astype(np.int64) << _STORE_SHIFT) + instant_ms
        return StoreDayRows(self._table, np.searchsorted(self._table["key"], keys, "right") - 1)

    def gap_ms(self, store: NDArray[np.int32], instant_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The gap of each (store, instant); only a store whose rules differ in it has its business day looked up."""
        gap_ms: NDArray[np.int64] = self._only_gap_ms[store]
        return gap_ms if (gap_ms >= 0).all() else self.lookup(store, instant_ms)["gap_ms"]

    def _add(self, codes: list[int]) -> None:
        rows = {int(row["key"]): row for row in self._table}
        for code in codes:
            store, utc_day = code >> 32, code & 0xFFFFFFFF
            calendar = self._stores[store].versions[0].business_days
            first, last = calendar.number_at(utc_day * DAY_MS), calendar.number_at((utc_day + 1) * DAY_MS)
            for number in range(first, last + 1):
                row = self._row(store, number)
                rows[int(row["key"])] = row
            self._known.add(code)
        self._table = Columns.from_records(np.array([rows[key] for key in sorted(rows)], STORE_DAY))

    def _row(self, store: int, number: int) -> np.void:
        config = self._stores[store]
        day = date_of(number)
        settings = config.settings_on(day)
        rule = settings.rule
        if rule.label not in self.rule_labels:
            self.rule_labels.append(rule.label)
        row: np.void = np.zeros(1, STORE_DAY)[0]
        # Added, not or-ed: the business day that 1970 began in started before it.
        row["key"] = (store << _STORE_SHIFT) + settings.business_days.starts_at_ms(number)
        row["day"], row["end_ms"] = number, settings.business_days.starts_at_ms(number + 1)
        row["open_ms"], row["close_ms"] = _opening_ms(settings, day)
        row["gap_ms"], row["max_visit_ms"] = rule.gap_s * 1000, rule.max_visit_s * 1000
        row["min_dwell_s"], row["engaged_s"] = rule.min_dwell_s, rule.engaged_s
        for column in ("enter_dbm", "stay_dbm", "passer_by_dbm"):
            row[column] = getattr(rule, column)
        row["rule"] = self.rule_labels.index(rule.label)
        return row


def _opening_ms(settings: StoreSettings, day: date) -> tuple[int, int]:
    """First and last instant of a business date that is inside opening hours, margin included."""
    hours = settings.hours_on(day)
    if hours is None:
        return _FAR, 0
    if hours == OPEN_ALL_DAY:
        return 0, _FAR
    opens, closes = hours
    zone = settings.business_days.zone
    close_day = day + timedelta(days=1) if closes <= opens else day
    margin_ms = settings.opening_margin_s * 1000
    return local_ms(day, opens, zone) - margin_ms, local_ms(close_day, closes, zone) + margin_ms
