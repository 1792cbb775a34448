"""A store with a past: an hour of frames that were captured, and the people who were counted meanwhile."""

from __future__ import annotations

from pathlib import Path

from clickhouse_connect.driver.client import Client

from tests.unit.collector_runs import pcap, probe

_DEVICES = [probe(f"00:1c:b3:00:00:{n:02x}", -50 - n) for n in range(20)]
_QUIET_MIN, _BUSY_MIN = 10, 40
_PEOPLE = 12


class Harbour:
    """Opened at `opened_s`: one frame from afar, ten minutes of silence, then each device once a minute for forty."""

    def __init__(self, client: Client, opened_s: int) -> None:
        self._client = client
        self._opened_s = opened_s
        self.devices = len(_DEVICES)
        busy = range(_QUIET_MIN, _QUIET_MIN + _BUSY_MIN)
        sent = [(0, _DEVICES[-1]), *((minute, frame) for minute in busy for frame in _DEVICES)]
        self.frames = [((opened_s + 60 * minute) * 1000, frame) for minute, frame in sent]

    def write_capture(self, directory: Path) -> Path:
        """All that was on the air."""
        path = directory / "harbour.pcap"
        path.write_bytes(pcap(self.frames))
        return path

    def write_truth(self, directory: Path) -> Path:
        """Nobody, and then twelve people: 480 person-minutes."""
        quiet_s = self._opened_s + 60 * _QUIET_MIN
        lines = [f"{self._opened_s},{quiet_s},0", f"{quiet_s},{quiet_s + 60 * _BUSY_MIN},{_PEOPLE}"]
        path = directory / "counted.csv"
        path.write_text("\n".join(["from_epoch_utc,to_epoch_utc,occupancy", *lines]), encoding="utf-8")
        return path

    def asks(self, query: str) -> float:
        """One number of its rows in ClickHouse."""
        return float(self._client.query(f"SELECT {query} WHERE store_id = 'harbour'").result_rows[0][0])
