"""Visits of one store from all its sightings, when nothing more will come."""

from __future__ import annotations

from datetime import date

from tests.oracle.pseudonyms import Pseudonym, visit_id
from tests.oracle.store_settings import Row, business_date, opening_ms, settings_on

PASSER_BY, BOUNCED, VISITOR, STAFF_OR_FIXED = 1, 2, 3, 4


def visits_of(sightings: list[Row], store: Row, pseudonym: Pseudonym) -> list[Row]:
    """Every presence of every device, by business date, device and start; `sightings` of all sensors."""
    groups: dict[tuple[date, str], list[Row]] = {}
    for sighting in sightings:
        day = business_date(store, sighting["observed_ms"])
        floor = settings_on(store, day)["rule"]["passer_by_dbm"]
        if sighting["rssi_dbm"] is None or sighting["rssi_dbm"] < floor:
            continue
        if pseudonym(sighting["mac"], day) is None:
            continue
        groups.setdefault((day, sighting["mac"]), []).append(sighting)
    visits = []
    for (day, mac), heard in sorted(groups.items()):
        gap_ms = settings_on(store, day)["rule"]["gap_s"] * 1000
        for chain in chains(heard, gap_ms):
            visits.append(visit_of(chain, store, day, mac, pseudonym))
    return visits


def chains(sightings: list[Row], gap_ms: int) -> list[list[Row]]:
    """Maximal chains whose silences, from the latest end so far to the next start, are at most the gap."""
    found: list[list[Row]] = []
    latest_end = 0
    for sighting in sorted(sightings, key=lambda one: one["observed_ms"]):
        if not found or sighting["observed_ms"] - latest_end > gap_ms:
            found.append([])
            latest_end = _end(sighting)
        found[-1].append(sighting)
        latest_end = max(latest_end, _end(sighting))
    return found


def visit_of(chain: list[Row], store: Row, day: date, mac: str, pseudonym: Pseudonym) -> Row:
    """The visit that one chain is."""
    rule = settings_on(store, day)["rule"]
    first_ms = min(sighting["observed_ms"] for sighting in chain)
    last_ms = max(_end(sighting) for sighting in chain)
    entering = [sighting["observed_ms"] for sighting in chain if sighting["rssi_dbm"] >= rule["enter_dbm"]]
    entered_ms = min(entering) if entering else None
    left_ms = dwell_s = None
    if entered_ms is not None:
        staying = [_end(sighting) for sighting in chain if sighting["rssi_dbm"] >= rule["stay_dbm"]]
        left_ms = max(end for end in staying if end >= entered_ms)
        dwell_s = (left_ms - entered_ms) // 1000
    if last_ms - first_ms > rule["max_visit_s"] * 1000 or is_outside_hours(store, day, first_ms, last_ms):
        role = STAFF_OR_FIXED
    elif dwell_s is None:
        role = PASSER_BY
    elif dwell_s < rule["min_dwell_s"]:
        role = BOUNCED
    else:
        role = VISITOR
    known = pseudonym(mac, day)
    assert known is not None
    device_id, key_epoch = known
    return {
        "visit_id": visit_id(store["id"], device_id, key_epoch, first_ms),
        "store_id": store["id"],
        "device_id": device_id,
        "key_epoch": key_epoch,
        "first_seen_ms": first_ms,
        "last_seen_ms": last_ms,
        "entered_ms": entered_ms,
        "left_ms": left_ms,
        "dwell_s": dwell_s,
        "sightings": len(chain),
        "rssi_max_dbm": max(sighting["rssi_dbm"] for sighting in chain),
        "address_class": max(sighting["address_class"] for sighting in chain),
        "role": role,
        "engaged": role == VISITOR and dwell_s is not None and dwell_s >= rule["engaged_s"],
        "business_date": day,
        "rule_version": f"{rule['name']}@{rule['version']}",
    }


def is_outside_hours(store: Row, day: date, first_ms: int, last_ms: int) -> bool:
    """Whether any of it lies outside the day's opening hours and their margin."""
    hours = opening_ms(store, day)
    if hours == "all day":
        return False
    if isinstance(hours, str):
        return True
    margin_ms: int = settings_on(store, day)["opening_margin_s"] * 1000
    return first_ms < hours[0] - margin_ms or last_ms > hours[1] + margin_ms


def _end(sighting: Row) -> int:
    end: int = sighting["observed_ms"] + sighting["span_ms"]
    return end
