"""How far a store's event time has come, and which batches it has already taken."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from footfall_events.sighting_batches import BatchHeader
from footfall_events.stores import StoreConfig

MINUTE_MS = 60_000
ROW_LEAD_MS = 15_000
"""How much later than its batch's clock a row may start: the clock is the start of its oldest open burst, so the
row is at most one burst (10 s) and the second that ends it further on. More is no clock's promise."""


@dataclass
class Boot:
    """One run of a collector: its newest clock and the batch sequences taken, as closed intervals."""

    clock_ms: int
    taken: list[list[int]] = field(default_factory=list)

    def take(self, seq: int) -> bool:
        """Note a sequence number; False if it was taken before. Order does not matter."""
        at = bisect_right(self.taken, [seq, 2**63]) - 1
        if at >= 0 and self.taken[at][1] >= seq:
            return False
        joins_left = at >= 0 and self.taken[at][1] == seq - 1
        joins_right = at + 1 < len(self.taken) and self.taken[at + 1][0] == seq + 1
        if joins_left and joins_right:
            self.taken[at][1] = self.taken.pop(at + 1)[1]
        elif joins_left:
            self.taken[at][1] = seq
        elif joins_right:
            self.taken[at + 1][0] = seq
        else:
            self.taken.insert(at + 1, [seq, seq])
        return True


@dataclass
class StoreClock:
    """Event time of one store: its sensors' clocks and the watermark, which never goes back.

    The watermark is the lowest clock among live sensors less the allowed lateness. A sensor whose clock is
    more than `stale_after_s` behind the store's newest does not count. `published_ms` is the watermark at
    which the store's minutes were last brought up to date.
    """

    config: StoreConfig
    watermark_ms: int = 0
    published_ms: int = 0
    sensors: dict[str, int] = field(default_factory=dict)  # newest clock by sensor, ms
    boots: dict[str, Boot] = field(default_factory=dict)  # by "sensor/boot"

    def take(self, header: BatchHeader) -> bool:
        """Whether the batch is new; if so its clock counts and the watermark moves."""
        boot = self.boots.setdefault(f"{header.sensor_id}/{header.boot_id}", Boot(header.sensor_clock_ms))
        if not boot.take(header.batch_seq):
            return False
        boot.clock_ms = max(boot.clock_ms, header.sensor_clock_ms)
        known = self.sensors.get(header.sensor_id, 0)
        self.sensors[header.sensor_id] = max(known, header.sensor_clock_ms)
        self.watermark_ms = max(self.watermark_ms, self._bound(header.final))
        return True

    def _bound(self, final: bool) -> int:
        newest = max(self.sensors.values())
        if final:
            # Past every gap and every minute's end: whatever is open closes, whatever is counted is final.
            return newest + self.longest_gap_ms + MINUTE_MS + 1
        live = [clock for clock in self.sensors.values() if newest - clock <= self.config.stale_after_s * 1000]
        return min(live) - self.config.allowed_lateness_s * 1000

    @property
    def longest_gap_ms(self) -> int:
        return max(version.rule.gap_s for version in self.config.versions) * 1000

    @property
    def horizon_ms(self) -> int:
        """Rows that start before this instant come too late to change anything."""
        return self.watermark_ms - self.config.revision_horizon_s * 1000

    @property
    def minute_is_due(self) -> bool:
        """Whether the watermark has entered a minute whose rows are not yet published."""
        return self.watermark_ms // MINUTE_MS > self.published_ms // MINUTE_MS

    def is_beyond(self, header: BatchHeader) -> bool:
        """Whether every row that the batch can hold comes too late.

        Its boot may be forgotten, so it cannot be told from a repetition: it must not count for anything.
        """
        return header.sensor_clock_ms + ROW_LEAD_MS < self.horizon_ms

    def forget(self) -> None:
        """Drop boots that can no longer send anything acceptable: every row of theirs is behind the horizon."""
        horizon = self.horizon_ms - ROW_LEAD_MS
        self.boots = {name: boot for name, boot in self.boots.items() if boot.clock_ms >= horizon}

    def to_state(self) -> dict[str, Any]:
        """Everything but the configuration, as JSON has it."""
        return {
            "watermark_ms": self.watermark_ms,
            "published_ms": self.published_ms,
            "sensors": self.sensors,
            "boots": {name: [boot.clock_ms, boot.taken] for name, boot in self.boots.items()},
        }

    @classmethod
    def from_state(cls, config: StoreConfig, state: dict[str, Any]) -> StoreClock:
        """The clock that `to_state` described."""
        boots = {name: Boot(clock, taken) for name, (clock, taken) in state["boots"].items()}
        return cls(config, state["watermark_ms"], state["published_ms"], dict(state["sensors"]), boots)
