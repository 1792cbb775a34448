"""The chain's configuration: one TOML file of stores, validated with every problem reported at once.

Every setting that changes results may be revised from a business date on: a store's table is its first
version, each `[[stores.changes]]` names `valid_from` and what differs from then on. Event time chooses.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from footfall_events.business_days import BusinessDays
from footfall_events.errors import ConfigError
from footfall_events.rules import PROFILES, VisitRule
from footfall_events.toml_tables import TomlTable

MAX_SENSORS = 64
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_OUI = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){2}")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")

Hours = tuple[time, time] | None
"""Opening and closing local time of one day (a closing time at or before the opening one is on the next
calendar day); None = closed."""
OPEN_ALL_DAY: tuple[time, time] = (time(0), time(0))


@dataclass(frozen=True)
class StoreSettings:
    """What changes results at one store, as valid from business date `valid_from` (None = from ever).

    `opening` has seven entries from Monday, or is empty: open all day, every day.
    `opening_dates` overrides single dates.
    """

    valid_from: date | None
    time_zone: str
    cutover: time
    opening: tuple[Hours, ...]
    opening_dates: Mapping[date, Hours]
    opening_margin_s: int
    rule: VisitRule
    own_bssids: frozenset[str]
    ignored_ouis: frozenset[str]

    @property
    def business_days(self) -> BusinessDays:
        return BusinessDays(ZoneInfo(self.time_zone), self.cutover)

    def hours_on(self, day: date) -> Hours:
        """Opening hours of a business date."""
        if day in self.opening_dates:
            return self.opening_dates[day]
        return self.opening[day.weekday()] if self.opening else OPEN_ALL_DAY


@dataclass(frozen=True)
class StoreConfig:
    """One store. `versions` are sorted by `valid_from`, the first from ever; sensors are unique names."""

    store_id: str
    name: str
    region: str
    area_m2: float
    sensors: tuple[str, ...]
    versions: tuple[StoreSettings, ...]
    allowed_lateness_s: int = 30
    stale_after_s: int = 300
    max_clock_lead_s: int = 120
    revision_horizon_s: int = 86_400

    def settings_on(self, day: date) -> StoreSettings:
        """The version valid on a business date."""
        valid = [v for v in self.versions if v.valid_from is None or v.valid_from <= day]
        return valid[-1]


@dataclass(frozen=True)
class PrivacyPolicy:
    """How long and how far pseudonyms may be compared: `daily` within a day, `loyalty` for `days` days.

    `scope`: `store` = a device has another pseudonym in each store, `chain` = one for all of them.
    """

    policy: str = "daily"
    days: int = 1
    scope: str = "store"
    legal_basis: str = ""
    notice_date: date | None = None

    def epoch_of(self, business_day: int) -> int:
        """Number of the key epoch that a business day (days since 1970) belongs to."""
        return business_day // self.days


@dataclass(frozen=True)
class ChainConfig:
    """Every store of the chain by id, and the privacy policy they share."""

    stores: Mapping[str, StoreConfig]
    privacy: PrivacyPolicy
    chain: str = "chain"


def load_chain(path: Path) -> ChainConfig:
    """Read and validate a configuration file; raises ConfigError with every problem found."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # also what is not UTF-8, and a number too long to read
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
    try:
        return parse_chain(document)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from error


def parse_chain(document: Mapping[str, Any]) -> ChainConfig:
    """Validate a parsed document; raises ConfigError with every problem found."""
    problems: list[str] = []
    root = TomlTable(document, "", problems)
    chain = root.text("chain", "chain")
    privacy = _privacy(root.table("privacy"))
    stores: dict[str, StoreConfig] = {}
    rules: dict[str, VisitRule] = {}
    for table in root.tables("stores"):
        store = _store(table, rules)
        if store.store_id and store.store_id in stores:
            table.problem("id", f"{store.store_id!r} occurs twice")
        stores[store.store_id] = store
    if document.get("stores", []) == []:
        root.problem("stores", "at least one [[stores]] table is needed")
    root.finish()
    if problems:
        raise ConfigError(problems)
    return ChainConfig(stores, privacy, chain)


def _privacy(table: TomlTable) -> PrivacyPolicy:
    policy = table.text("policy", "daily")
    scope = table.text("scope", "store")
    days = table.whole("days", 1, 1, 30)
    basis, notice = table.text("legal_basis", ""), table.day("notice_date")
    if policy not in ("daily", "loyalty"):
        table.problem("policy", f"is {policy!r}, must be 'daily' or 'loyalty'")
    if scope not in ("store", "chain"):
        table.problem("scope", f"is {scope!r}, must be 'store' or 'chain'")
    if policy == "daily" and (days != 1 or scope != "store"):
        table.problem("policy", "'daily' means days = 1 and scope = 'store'; use 'loyalty' for more")
    if policy == "loyalty" and not (basis and notice):
        table.problem("policy", "'loyalty' needs legal_basis and notice_date: no notice, no collection")
    table.finish()
    return PrivacyPolicy(policy, days, scope, basis, notice)


def _store(table: TomlTable, rules: dict[str, VisitRule]) -> StoreConfig:
    """One store; `rules` holds every rule of the chain so far by its label."""
    store_id = table.text("id", "")
    if not _ID.fullmatch(store_id):
        table.problem("id", f"is {store_id!r}, must be 1 to 100 letters, digits, '.', '_' or '-'")
    sensors = table.texts("sensors", _ID, "1 to 100 letters, digits, '.', '_' or '-'")
    if not 1 <= len(set(sensors)) <= MAX_SENSORS:
        table.problem("sensors", f"names {len(set(sensors))}, must be from 1 to {MAX_SENSORS}")
    if len(set(sensors)) < len(sensors):
        table.problem("sensors", "names one twice")
    versions = [_settings(table, None, rules)]
    for change in table.tables("changes"):
        versions.append(_change(change, versions[-1], rules))
    dates = [version.valid_from for version in versions[1:] if version.valid_from]
    if dates != sorted(set(dates)):
        table.problem("changes", "valid_from must rise from one change to the next")
    lateness = table.whole("allowed_lateness_s", 30, 0, 3600)
    stale = table.whole("stale_after_s", 300, 1, 86_400)
    lead = table.whole("max_clock_lead_s", 120, 1, 3600)
    if stale <= lead:
        table.problem("stale_after_s", f"is {stale}, must exceed max_clock_lead_s ({lead})")
    store = StoreConfig(
        store_id=store_id,
        name=table.text("name", store_id),
        region=table.text("region", ""),
        area_m2=table.number("area_m2", 0, 0, 10_000_000),
        sensors=tuple(sensors),
        versions=tuple(versions),
        allowed_lateness_s=lateness,
        stale_after_s=stale,
        max_clock_lead_s=lead,
        revision_horizon_s=table.whole("revision_horizon_s", 86_400, 0, 7 * 86_400),
    )
    table.finish()
    return store


def _change(table: TomlTable, before: StoreSettings, rules: dict[str, VisitRule]) -> StoreSettings:
    valid_from = table.day("valid_from")
    if not table.has("valid_from"):
        table.problem("valid_from", "is missing: the business date from which the change applies")
    settings = _settings(table, before, rules)
    table.finish()
    # A cut-over that moves would make a business day overlap its neighbour: only the first version sets it.
    if (settings.time_zone, settings.cutover) != (before.time_zone, before.cutover):
        table.problem("time_zone", "and cutover cannot change in place: close the store and open it anew")
    return replace(settings, valid_from=valid_from)


def _settings(table: TomlTable, before: StoreSettings | None, rules: dict[str, VisitRule]) -> StoreSettings:
    """The settings of one table; what it does not name is taken from the version before, or the default."""
    zone = table.text("time_zone", before.time_zone if before else "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        table.problem("time_zone", f"is {zone!r}, must be an IANA name like 'Europe/Berlin'")
        zone = "UTC"
    bssids = frozenset(table.texts("own_bssids", _MAC, "like '02:00:00:aa:bb:cc'", lower=True))
    ouis = frozenset(table.texts("ignored_ouis", _OUI, "like 'dc:fb:48'", lower=True))
    opening, dates = _opening(table.table("opening")) if table.has("opening") or not before else ((), {})
    if before and not table.has("opening"):
        opening, dates = before.opening, dict(before.opening_dates)
    return StoreSettings(
        valid_from=None,
        time_zone=zone,
        cutover=_cutover(table, before.cutover if before else time(4)),
        opening=opening,
        opening_dates=dates,
        opening_margin_s=table.whole("opening_margin_s", before.opening_margin_s if before else 1800, 0, 6 * 3600),
        rule=_rule(table, before.rule if before else PROFILES["retail"], rules),
        own_bssids=before.own_bssids if before and not table.has("own_bssids") else bssids,
        ignored_ouis=before.ignored_ouis if before and not table.has("ignored_ouis") else ouis,
    )


def _cutover(table: TomlTable, default: time) -> time:
    value: time = table.get("cutover", time, default, "a local time like 04:00:00")
    if value.minute or value.second or value.microsecond or value.hour > 12:
        table.problem("cutover", f"is {value}, must be a full hour from 00:00:00 to 12:00:00")
        return default
    return value


def _hours(table: TomlTable, key: str, value: Any) -> Hours:
    if value == "closed":
        return None
    if value == "all day":
        return OPEN_ALL_DAY
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        table.problem(key, f"is {value!r}, must be like '09:00-20:00', 'all day' or 'closed'")
        return None
    hour, minute, to_hour, to_minute = map(int, match.groups())
    return time(hour, minute), time(to_hour, to_minute)


def _opening(table: TomlTable) -> tuple[tuple[Hours, ...], dict[date, Hours]]:
    """Weekly hours and single dates; keys are mon..sun, `daily` for the rest of them, or a date."""
    week: dict[str, Hours] = {}
    dates: dict[date, Hours] = {}
    daily: Hours = None
    for key, value in table.items():
        hours = _hours(table, key, value)
        if key == "daily":
            daily = hours
        elif key in WEEKDAYS:
            week[key] = hours
        else:
            day = _date(key)
            if day is None:
                table.problem(key, "must be mon..sun, daily, or a date like 2026-12-25")
            else:
                dates[day] = hours
    if not week and "daily" not in dict(table.items()):
        return (), dates
    return tuple(week.get(day, daily) for day in WEEKDAYS), dates


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None  # one spelling only, or a day could be named twice


_THRESHOLDS = ("enter_dbm", "stay_dbm", "passer_by_dbm", "min_dwell_s", "gap_s", "engaged_s", "max_visit_s")


def _rule(table: TomlTable, default: VisitRule, rules: dict[str, VisitRule]) -> VisitRule:
    """A profile by name (`rule = "retail"`), or a table: a name, a version and what differs from a profile."""
    value = table.get("rule", (str, Mapping), None, "a profile's name or a table")
    if value is None:
        return default
    if isinstance(value, str):
        return _profile(table, "rule", value, default)
    given = table.table("rule")
    base = _profile(given, "based_on", given.text("based_on", "retail"), PROFILES["retail"])
    numbers = {key: given.whole(key, getattr(base, key), -120, 86_400) for key in _THRESHOLDS}
    name, version = given.text("name", ""), given.whole("version", 1, 1, 10_000)
    if not _ID.fullmatch(name) or name in PROFILES:
        given.problem("name", f"is {name!r}: give the rule a name of its own")
    rule = VisitRule(name=name, version=version, **numbers)
    for problem in rule.problems():
        given.problem("", problem)
    if rules.setdefault(rule.label, rule) != rule:
        # The label is all that a visit says of its rule.
        given.problem("version", f"{rule.label} has other thresholds elsewhere in the file: raise the version")
    given.finish()
    return rule


def _profile(table: TomlTable, key: str, name: str, default: VisitRule) -> VisitRule:
    if name not in PROFILES:
        table.problem(key, f"is {name!r}, must be one of {', '.join(PROFILES)}")
    return PROFILES.get(name, default)
