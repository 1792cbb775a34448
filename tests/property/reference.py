"""What a store's tables must be after any message, recomputed from scratch: clocks here, the rest by the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from tests.oracle.compare import differences, from_query
from tests.oracle.minutes import store_minutes
from tests.oracle.store_settings import Row, business_date, settings_on
from tests.oracle.visits import visits_of
from tests.property.worlds import SentBatch, Sighting, Tables, World, pseudonym

MINUTE_MS = 60_000
ROW_LEAD_MS = 15_000
"""A row may start this much after its batch's clock, so a batch this far behind the horizon holds none in time."""

VISIT_COLUMNS = (
    "visit_id",
    "device_id",
    "key_epoch",
    "first_seen_ms",
    "last_seen_ms",
    "entered_ms",
    "left_ms",
    "dwell_s",
    "sightings",
    "rssi_max_dbm",
    "address_class",
    "role",
    "engaged",
    "business_date",
    "rule_version",
)
COUNTS = ("sensors_live", "present", "entries", "exits", "passers_by")


class Published(NamedTuple):
    """What a store knew when it last published its minutes."""

    watermark_ms: int
    accepted: list[Row]
    clocks: dict[str, list[int]]


@dataclass
class StoreReference:
    """One store, message by message: its clocks, which sightings it accepted, when it published."""

    store: Row
    watermark_ms: int = 0
    sensors: dict[str, int] = field(default_factory=dict)
    clocks: dict[str, list[int]] = field(default_factory=dict)
    accepted: list[Row] = field(default_factory=list)
    too_late: list[tuple[tuple[str, str, str, int], Sighting]] = field(default_factory=list)
    published: Published | None = None
    _seen: set[tuple[str, str, str, int]] = field(default_factory=set)

    @property
    def horizon_ms(self) -> int:
        """Sightings that start before it come too late."""
        horizon_s: int = self.store["revision_horizon_s"]
        return self.watermark_ms - horizon_s * 1000

    @property
    def gap_ms(self) -> int:
        """The longest gap of any version of the settings."""
        days = [date.min, *(change["valid_from"] for change in self.store.get("changes", []))]
        return 1000 * max(int(settings_on(self.store, day)["rule"]["gap_s"]) for day in days)

    def take(self, batch: SentBatch) -> None:
        """DESIGN section 3, one batch. One wholly behind the horizon counts for nothing but its dead letters."""
        beyond = batch.clock_ms + ROW_LEAD_MS < self.horizon_ms
        if not beyond and batch.identity in self._seen:
            return
        self._seen.add(batch.identity)
        for one in batch.sightings:
            if one.observed_ms < self.horizon_ms:
                self.too_late.append((batch.identity, one))
            else:
                self.accepted.append(one.oracle_row(batch.epoch))
        if beyond:
            return
        if batch.clock_ms >= self.horizon_ms:
            self.clocks.setdefault(batch.sensor, []).append(batch.clock_ms)
        self.sensors[batch.sensor] = max(self.sensors.get(batch.sensor, 0), batch.clock_ms)
        before_ms = self.watermark_ms
        self.watermark_ms = max(before_ms, self._bound(batch.final))
        last_ms = self.published.watermark_ms if self.published else 0
        if batch.final or self.watermark_ms // MINUTE_MS > last_ms // MINUTE_MS:
            clocks = {sensor: list(heard) for sensor, heard in self.clocks.items()}
            self.published = Published(self.watermark_ms, list(self.accepted), clocks)

    def _bound(self, final: bool) -> int:
        newest = max(self.sensors.values())
        if final:
            return newest + self.gap_ms + MINUTE_MS + 1
        live = [clock for clock in self.sensors.values() if newest - clock <= self.store["stale_after_s"] * 1000]
        lateness_s: int = self.store["allowed_lateness_s"]
        return min(live) - lateness_s * 1000

    def is_closed(self, visit: Row, watermark_ms: int) -> bool:
        """Whether the watermark has passed the visit's gap, or the cut-over after it."""
        gap_s: int = settings_on(self.store, visit["business_date"])["rule"]["gap_s"]
        past_gap: bool = watermark_ms > visit["last_seen_ms"] + gap_s * 1000
        past_day: bool = business_date(self.store, watermark_ms) > visit["business_date"]
        return past_gap or past_day

    def visits(self) -> list[Row]:
        """The closed presences of everything accepted so far."""
        found = visits_of(self.accepted, self.store, pseudonym)
        return [visit for visit in found if self.is_closed(visit, self.watermark_ms)]

    def minutes(self) -> list[Row]:
        """Every minute over at the last publication, with something to show."""
        if self.published is None:
            return []
        watermark_ms, accepted, clocks = self.published
        visits = visits_of(accepted, self.store, pseudonym)
        closed = [visit for visit in visits if self.is_closed(visit, watermark_ms)]
        still_open = [visit for visit in visits if not self.is_closed(visit, watermark_ms)]
        present = {row["minute_ms"]: row["present"] for row in store_minutes(visits, clocks, self.store)}
        others = {row["minute_ms"]: row for row in store_minutes(closed, clocks, self.store)}
        rows = []
        for minute_ms in sorted(present.keys() | others.keys()):
            end_ms = minute_ms + MINUTE_MS
            row = others.get(minute_ms, {"minute_ms": minute_ms, **dict.fromkeys(COUNTS, 0)})
            row["present"] = present.get(minute_ms, 0)
            row["business_date"] = business_date(self.store, minute_ms)
            over = end_ms + self.gap_ms < watermark_ms
            row["is_final"] = int(over and not any(_may_change(minute_ms, visit) for visit in still_open))
            if end_ms <= watermark_ms and any(row[name] for name in COUNTS):
                rows.append(row)
        return rows


def _may_change(minute_ms: int, visit: Row) -> bool:
    """Whether closing the open visit, or hearing it again on time, changes the minute."""
    end_ms = minute_ms + MINUTE_MS
    began: int = visit["first_seen_ms"] if visit["entered_ms"] is None else visit["entered_ms"]
    stays_on = visit["entered_ms"] is not None and visit["left_ms"] < end_ms
    return minute_ms <= began < end_ms or stays_on


class Reference:
    """All stores of a world."""

    def __init__(self, world: World) -> None:
        self.stores = {store["id"]: StoreReference(store) for store in world.stores}

    def take(self, batch: SentBatch) -> None:
        self.stores[batch.store].take(batch)

    def after(self, batches: Iterable[SentBatch]) -> Reference:
        """Itself, after the batches."""
        for batch in batches:
            self.take(batch)
        return self

    def differences(self, tables: Tables) -> list[str]:
        """Where the tables are not what this says; empty if they are."""
        visits = from_query(tables.visits(), ["first_seen_at", "last_seen_at", "entered_at", "left_at"])
        minutes = from_query(tables.minutes(), ["minute"])
        found = []
        for name, store in self.stores.items():
            mine = [row for row in visits if row["store_id"] == name]
            found += differences(store.visits(), mine, VISIT_COLUMNS)
            mine = [row for row in minutes if row["store_id"] == name]
            found += differences(store.minutes(), mine, ("minute_ms", "business_date", *COUNTS, "is_final"))
        return found
