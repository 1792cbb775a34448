"""Plain look-ups in a store's TOML table: which settings hold on a day, which business day an instant is."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]

DEFAULT_RULE: Row = {
    "name": "retail",
    "version": 1,
    "enter_dbm": -65,
    "stay_dbm": -70,
    "passer_by_dbm": -90,
    "min_dwell_s": 300,
    "gap_s": 900,
    "engaged_s": 900,
    "max_visit_s": 14400,
}
PROFILES: dict[str, Row] = {
    "retail": DEFAULT_RULE,
    "meraki": {
        "name": "meraki",
        "version": 1,
        "enter_dbm": -80,
        "stay_dbm": -85,
        "passer_by_dbm": -85,
        "min_dwell_s": 300,
        "gap_s": 120,
        "engaged_s": 1200,
        "max_visit_s": 21600,
    },
    "aruba": {**DEFAULT_RULE, "name": "aruba"},
    "cloud4wi": {**DEFAULT_RULE, "name": "cloud4wi"},
    "purple": {**DEFAULT_RULE, "name": "purple", "min_dwell_s": 180},
}


def settings_on(store: Row, day: date) -> Row:
    """The store's settings on a business date: its table, overlaid by every change valid by then."""
    settings: Row = {
        "time_zone": "UTC",
        "cutover": time(4),
        "opening": {},
        "opening_margin_s": 1800,
        "rule": "retail",
        "own_bssids": [],
        "ignored_ouis": [],
    }
    settings.update({key: value for key, value in store.items() if key != "changes"})
    for change in store.get("changes", []):
        if change["valid_from"] <= day:
            settings.update(change)
    settings["rule"] = rule_of(settings["rule"])
    for key in ("own_bssids", "ignored_ouis"):
        settings[key] = {item.lower().replace("-", ":") for item in settings[key]}
    return settings


def rule_of(value: str | Row) -> Row:
    """A visit rule from a profile's name or from a table that says what differs from a profile."""
    if isinstance(value, str):
        return PROFILES[value]
    base = PROFILES[value.get("based_on", "retail")]
    return {**base, "version": 1, **{key: given for key, given in value.items() if key != "based_on"}}


def business_date(store: Row, instant_ms: int) -> date:
    """Local date of an instant, or the day before as long as the local clock is short of the cut-over."""
    zone = ZoneInfo(store.get("time_zone", "UTC"))
    cutover: time = store.get("cutover", time(4))
    local = datetime.fromtimestamp(instant_ms // 1000, zone)
    if local.time() < cutover:
        return local.date() - timedelta(days=1)
    return local.date()


def settings_at(store: Row, instant_ms: int) -> Row:
    """The settings that hold at an instant."""
    return settings_on(store, business_date(store, instant_ms))


def opening_ms(store: Row, day: date) -> tuple[int, int] | str:
    """Opening and closing instant of a business date, or `all day`, or `closed`."""
    opening = settings_on(store, day)["opening"]
    weekday = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    names_week = any(key == "daily" or key in weekday for key in opening)
    otherwise = "closed" if names_week else "all day"
    hours = opening.get(day.isoformat(), opening.get(weekday[day.weekday()], opening.get("daily", otherwise)))
    if hours in ("all day", "00:00-00:00"):
        return "all day"
    if hours == "closed":
        return "closed"
    opens, closes = (time.fromisoformat(part) for part in hours.split("-"))
    closing_day = day if closes > opens else day + timedelta(days=1)
    zone = ZoneInfo(store.get("time_zone", "UTC"))
    return (
        int(datetime.combine(day, opens, zone).timestamp()) * 1000,
        int(datetime.combine(closing_day, closes, zone).timestamp()) * 1000,
    )


def as_text(instant_ms: int) -> str:
    """An instant for people: UTC with milliseconds."""
    moment = datetime.fromtimestamp(instant_ms // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{instant_ms % 1000:03d}"
