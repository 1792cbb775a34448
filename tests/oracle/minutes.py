"""Minutes of one store, when everything is closed and final."""

from __future__ import annotations

from tests.oracle.store_settings import Row, business_date


def store_minutes(visits: list[Row], clocks: dict[str, list[int]], store: Row) -> list[Row]:
    """A row for every minute with a batch clock of some sensor, or with anything to count.

    `clocks` are the batch clocks (epoch ms) of each sensor, the final batch's among them.
    """
    minutes = {clock // 60_000 * 60_000 for of_one in clocks.values() for clock in of_one}
    for visit in visits:
        minutes.add(visit["first_seen_ms"] // 60_000 * 60_000)
        if visit["entered_ms"] is not None:
            start = visit["entered_ms"] // 60_000 * 60_000
            # One that enters on the minute is inside at the end of the minute before.
            minutes.update(range(start - 60_000, visit["left_ms"] + 1, 60_000))
    rows = []
    for minute_ms in sorted(minutes):
        end_ms = minute_ms + 60_000
        inside = range(minute_ms, end_ms)
        entered = [visit for visit in visits if visit["entered_ms"] is not None]
        passed = [visit for visit in visits if visit["entered_ms"] is None]
        row = {
            "store_id": store["id"],
            "minute_ms": minute_ms,
            "business_date": business_date(store, minute_ms),
            "sensors_live": sum(any(clock in inside for clock in of_one) for of_one in clocks.values()),
            "present": sum(visit["entered_ms"] <= end_ms <= visit["left_ms"] for visit in entered),
            "entries": sum(visit["entered_ms"] in inside for visit in entered),
            "exits": sum(visit["left_ms"] in inside for visit in entered),
            "passers_by": sum(visit["first_seen_ms"] in inside for visit in passed),
            "is_final": 1,
        }
        if any(row[name] for name in ("sensors_live", "present", "entries", "exits", "passers_by")):
            rows.append(row)
    return rows
