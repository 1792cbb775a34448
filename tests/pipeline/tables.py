"""The tables that captures must come to, from the oracle, and how a pipeline's differ from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tests.oracle.clocks import heartbeat_clocks
from tests.oracle.compare import differences, from_query, keyed_differences, report
from tests.oracle.frames import decide, read_frames
from tests.oracle.minutes import store_minutes
from tests.oracle.pseudonyms import Pseudonym
from tests.oracle.sensor_minutes import sensor_minutes
from tests.oracle.sightings import bursts_of, sightings_of
from tests.oracle.store_settings import Row
from tests.oracle.visits import visits_of

VISITS = (
    "SELECT * EXCEPT (address_class, role, version), toInt8(address_class) AS address_class, toInt8(role) AS role "
    "FROM footfall.visits"
)
STORE_MINUTES = "SELECT * EXCEPT (version) FROM footfall.store_minutes"
SENSOR_MINUTES = "SELECT * FROM footfall.sensor_minutes"

_NAMES = ("visit_id", "device_id", "key_epoch")
_TIMES = ("first_seen_at", "last_seen_at", "entered_at", "left_at")
HEARTBEAT_S = 60


@dataclass
class Wanted:
    """What the oracle says; `named` is False where the key is thrown away, so nobody can know the names."""

    named: bool
    frames: int = 0
    sightings: int = 0
    visits: list[Row] = field(default_factory=list)
    store_minutes: list[Row] = field(default_factory=list)
    sensor_minutes: list[Row] = field(default_factory=list)

    def add(self, captures: Mapping[str, Path], store: Row, pseudonym: Pseudonym) -> None:
        """One store's captures by sensor; `store` is its table in the chain's file."""
        heard, clocks = [], {}
        for sensor_id, path in captures.items():
            decisions = decide(read_frames(path), store)
            bursts = bursts_of(decisions)
            heard += sightings_of(bursts)
            clocks[sensor_id] = heartbeat_clocks(decisions, bursts, HEARTBEAT_S)
            self.frames += len(decisions)
            self.sensor_minutes += sensor_minutes(decisions, bursts, store, sensor_id)
        visits = visits_of(heard, store, pseudonym)
        self.sightings += len(heard)
        self.visits += visits
        # The batch that closes the store carries the largest clock, which its sensor has sent before.
        self.store_minutes += store_minutes(visits, clocks, store)


def nameless(mac: str, day: date) -> tuple[int, int]:
    """A pseudonym for captures whose key is thrown away."""
    return int(mac.replace(":", ""), 16), 0


def found_differences(wanted: Wanted, query: Callable[[str], list[Row]]) -> str:
    """Every difference between the oracle's tables and ClickHouse's, in words; empty if there is none."""
    visits = from_query(query(VISITS), _TIMES)
    columns = [name for name in wanted.visits[0] if wanted.named or name not in _NAMES]
    minutes = from_query(query(STORE_MINUTES), ("minute",))
    radio = from_query(query(SENSOR_MINUTES), ("minute",))
    found = {
        "visits": differences(wanted.visits, visits, columns),
        "store minutes": keyed_differences(
            wanted.store_minutes, minutes, ("store_id", "minute_ms"), list(wanted.store_minutes[0])
        ),
        "sensor minutes": keyed_differences(
            wanted.sensor_minutes, radio, ("store_id", "sensor_id", "minute_ms"), list(wanted.sensor_minutes[0])
        ),
    }
    return "\n".join(report(title, rows) for title, rows in found.items() if rows)
