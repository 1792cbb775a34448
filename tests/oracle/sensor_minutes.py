"""What one sensor heard in each minute, counted again frame by frame and burst by burst."""

from __future__ import annotations

from tests.oracle.frames import RANDOM
from tests.oracle.store_settings import Row, business_date

BANDS: tuple[tuple[str, int | None], ...] = (
    ("55", -55),
    ("60", -60),
    ("65", -65),
    ("70", -70),
    ("75", -75),
    ("all", None),
)


def sensor_minutes(decisions: list[Row], bursts: list[Row], store: Row, sensor_id: str) -> list[Row]:
    """A row for every minute that the capture touches, counts of bursts by class and band."""
    if not decisions:
        return []
    first_ms, last_ms = decisions[0]["time_ms"], decisions[-1]["time_ms"]
    rows = []
    for number in range(first_ms // 60_000, last_ms // 60_000 + 1):
        start_ms, end_ms = number * 60_000, (number + 1) * 60_000
        row: Row = {
            "store_id": store["id"],
            "sensor_id": sensor_id,
            "minute_ms": start_ms,
            "business_date": business_date(store, start_ms),
            "listening_s": (min(last_ms, end_ms) - max(first_ms, start_ms)) / 1000,
            "kernel_drops": 0,
            "frames": 0,
            "rejected": 0,
            "ignored": 0,
        }
        rows.append(row)
    by_minute = {row["minute_ms"]: row for row in rows}
    for frame in decisions:
        row = by_minute[frame["time_ms"] // 60_000 * 60_000]
        row["frames"] += 1
        if frame["outcome"] != "counted":
            row[frame["outcome"]] += 1
    started: dict[int, list[Row]] = {row["minute_ms"]: [] for row in rows}
    for burst in bursts:
        started[burst["first_ms"] // 60_000 * 60_000].append(burst)
    for row in rows:
        row.update(_counts(started[row["minute_ms"]]))
    return rows


def _counts(bursts: list[Row]) -> Row:
    counts = {}
    for name, edge in BANDS:
        for cls in ("random", "stable"):
            chosen = [
                burst
                for burst in bursts
                if (burst["address_class"] == RANDOM) == (cls == "random")
                and (edge is None or (burst["rssi_dbm"] is not None and burst["rssi_dbm"] >= edge))
            ]
            counts[f"{cls}_bursts_{name}"] = len(chosen)
            counts[f"{cls}_addresses_{name}"] = len({burst["mac"] for burst in chosen})
    return counts
