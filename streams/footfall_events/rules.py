"""What counts as a visit: named, versioned rules and the profiles that ship."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600


@dataclass(frozen=True)
class VisitRule:
    """Thresholds of one visit rule; signals in dBm, times in seconds. DESIGN: see streams/README.md.

    A presence is a chain of sightings at or above `passer_by_dbm` with silences of at most `gap_s`. It has
    entered at its first sighting at or above `enter_dbm` and left at its last one at or above `stay_dbm`.
    """

    name: str
    version: int
    enter_dbm: int
    stay_dbm: int
    passer_by_dbm: int
    min_dwell_s: int
    gap_s: int
    engaged_s: int
    max_visit_s: int

    @property
    def label(self) -> str:
        """Stamp on every row that the rule produced."""
        return f"{self.name}@{self.version}"

    def problems(self) -> list[str]:
        """What cannot be meant, in words; empty if the rule can work."""
        found = []
        if not -120 <= self.passer_by_dbm <= self.stay_dbm <= self.enter_dbm <= -5:
            found.append("needs -120 <= passer_by_dbm <= stay_dbm <= enter_dbm <= -5")
        if not 0 < self.gap_s <= 4 * HOUR_S:
            found.append("gap_s must be from 1 s to 4 h")
        if not 0 <= self.min_dwell_s <= self.engaged_s < self.max_visit_s <= 24 * HOUR_S:
            found.append("needs 0 <= min_dwell_s <= engaged_s < max_visit_s <= 24 h")
        return found


# Sources: meraki is Cisco's sample receiver (RSSI 15 and 10 over a floor of -95 dBm, 5 min, 120 s, bands to
# 6 h); aruba, cloud4wi and purple follow their product pages where these give a figure, `retail` elsewhere.
PROFILES: dict[str, VisitRule] = {
    rule.name: rule
    for rule in (
        VisitRule("retail", 1, -65, -70, -90, 300, 900, 900, 4 * HOUR_S),
        VisitRule("meraki", 1, -80, -85, -85, 300, 120, 1200, 6 * HOUR_S),
        VisitRule("aruba", 1, -65, -70, -90, 300, 900, 900, 4 * HOUR_S),
        VisitRule("cloud4wi", 1, -65, -70, -90, 300, 900, 900, 4 * HOUR_S),
        VisitRule("purple", 1, -65, -70, -90, 180, 900, 900, 4 * HOUR_S),
    )
}
