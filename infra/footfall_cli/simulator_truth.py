"""What a perfect listener would count from the frames written: the rules of a visit, frame by frame.

This is the measure for the pipeline, so it shares no code with it: plain Python, one device at a time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean, median

import numpy as np
from footfall_events.business_days import date_of, local_ms
from footfall_events.rules import VisitRule
from footfall_events.stores import PrivacyPolicy, StoreConfig

from footfall_cli.simulator_people import Being, Day
from footfall_cli.simulator_radio import Frames, Kind
from footfall_cli.simulator_site import IGNORED_OUI

LOOKBACK_DAYS = 30
_IGNORED = int(IGNORED_OUI.replace(":", ""), 16)
_LOCAL = 1 << 41
_SENT_BY_CLIENTS = (
    Kind.PROBE,
    Kind.AUTHENTICATION,
    Kind.ASSOCIATION,
    Kind.REASSOCIATION,
    Kind.DATA,
    Kind.NULL,
)
_ASSOCIATING = (Kind.ASSOCIATION, Kind.REASSOCIATION, Kind.DATA, Kind.NULL)
_PAUSE_MS, _LONGEST_MS = 1_000, 10_000


@dataclass(frozen=True)
class Sighting:
    """One burst of a stable address at one sensor, in the sensor's milliseconds."""

    start_ms: int
    end_ms: int
    rssi_dbm: int | None


@dataclass(frozen=True)
class Presence:
    """One presence of a device at a store; `entered_ms` and `left_ms` are None if it never entered."""

    address: int
    business_day: int
    first_ms: int
    last_ms: int
    entered_ms: int | None
    left_ms: int | None
    dwell_s: int | None
    sightings: int
    rssi_max_dbm: int
    role: str


class Listener:
    """One sensor's ear: carries the latest time over days, and which local addresses are associated."""

    def __init__(self, gap_s: int) -> None:
        self._gap_ms = gap_s * 1000
        self._latest_ms = 0
        self._associated: dict[int, int] = {}

    def sightings(self, frames: Frames) -> dict[int, list[Sighting]]:
        """Bursts of each stable address, in the order of time; `frames` in the order of the file."""
        stamps = np.maximum.accumulate(np.maximum(frames.when_us // 1000, self._latest_ms))
        if len(stamps):
            self._latest_ms = int(stamps[-1])
        heard: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
        rows = zip(stamps.tolist(), frames.kind.tolist(), frames.source.tolist(), frames.rssi_dbm.tolist(), strict=True)
        for at_ms, kind, address, dbm in rows:
            if kind not in _SENT_BY_CLIENTS or address >> 24 == _IGNORED:
                continue
            if address & _LOCAL and not self._is_associated(at_ms, kind, address):
                continue
            heard[address].append((at_ms, dbm if -120 <= dbm <= -5 else None))
        return {address: _bursts(frames_of) for address, frames_of in heard.items()}

    def _is_associated(self, at_ms: int, kind: int, address: int) -> bool:
        known = self._associated.get(address)
        if kind in _ASSOCIATING or (known is not None and at_ms - known <= self._gap_ms):
            self._associated[address] = at_ms
            return True
        return False


def _bursts(heard: list[tuple[int, int | None]]) -> list[Sighting]:
    found: list[Sighting] = []
    first = last = heard[0][0]
    strongest: int | None = None
    for at_ms, dbm in heard:
        if at_ms - last > _PAUSE_MS or at_ms - first > _LONGEST_MS:
            found.append(Sighting(first, last, strongest))
            first, strongest = at_ms, None
        last = at_ms
        if dbm is not None and (strongest is None or dbm > strongest):
            strongest = dbm
    return [*found, Sighting(first, last, strongest)]


def presences(store: StoreConfig, day: Day, sensors: list[dict[int, list[Sighting]]]) -> list[Presence]:
    """Presences of one business day, over what all sensors of the store heard; sorted by device and time."""
    by_device: dict[int, list[Sighting]] = defaultdict(list)
    settings = store.settings_on(date_of(day.number))
    rule = settings.rule
    for sensor in sensors:
        for address, heard in sensor.items():
            near = [s for s in heard if s.rssi_dbm is not None and s.rssi_dbm >= rule.passer_by_dbm]
            by_device[address] += near
    open_ms = _open_ms(store, day)
    found = []
    for address in sorted(by_device):
        chain: list[Sighting] = []
        until_ms = 0
        for sighting in sorted(by_device[address], key=lambda s: (s.start_ms, s.end_ms)):
            if chain and sighting.start_ms - until_ms > rule.gap_s * 1000:
                found.append(_presence(address, day.number, chain, rule, open_ms))
                chain, until_ms = [], 0
            chain.append(sighting)
            until_ms = max(until_ms, sighting.end_ms)
        if chain:
            found.append(_presence(address, day.number, chain, rule, open_ms))
    return found


def _open_ms(store: StoreConfig, day: Day) -> tuple[int, int] | None:
    """From when to when a customer may be seen: opening hours widened by the margin; None when closed."""
    settings, date = store.settings_on(date_of(day.number)), date_of(day.number)
    hours = settings.hours_on(date)
    if hours is None:
        return None
    zone, margin_ms = settings.business_days.zone, settings.opening_margin_s * 1000
    until = date if hours[1] > hours[0] else date + timedelta(days=1)
    return local_ms(date, hours[0], zone) - margin_ms, local_ms(until, hours[1], zone) + margin_ms


def _presence(
    address: int, day: int, chain: list[Sighting], rule: VisitRule, open_ms: tuple[int, int] | None
) -> Presence:
    first, last = chain[0].start_ms, max(s.end_ms for s in chain)
    levels = [(s, s.rssi_dbm) for s in chain if s.rssi_dbm is not None]
    entering = [s.start_ms for s, dbm in levels if dbm >= rule.enter_dbm]
    entered = left = dwell = None
    if entering:
        entered = min(entering)
        left = max(s.end_ms for s, dbm in levels if dbm >= rule.stay_dbm and s.end_ms >= entered)
        dwell = (left - entered) // 1000
    outside = open_ms is None or first < open_ms[0] or last > open_ms[1]
    if outside or last - first > rule.max_visit_s * 1000:
        role = "staff_or_fixed"
    elif dwell is None:
        role = "passer_by"
    else:
        role = "bounced" if dwell < rule.min_dwell_s else "visitor"
    strongest = max(dbm for _, dbm in levels)
    return Presence(address, day, first, last, entered, left, dwell, len(chain), strongest, role)


class History:
    """Business days on which each device had a visitor visit at one store, as far as may be looked back."""

    def __init__(self, policy: PrivacyPolicy) -> None:
        self._policy = policy
        self._days: dict[int, list[int]] = defaultdict(list)

    def is_repeat(self, address: int, business_day: int) -> bool:
        """A visitor visit at this store on an earlier business day, within the lookback and the same key."""
        return any(
            business_day - LOOKBACK_DAYS <= day < business_day
            and self._policy.epoch_of(day) == self._policy.epoch_of(business_day)
            for day in self._days[address]
        )

    def add(self, address: int, business_day: int) -> None:
        self._days[address] = [*self._days[address][-LOOKBACK_DAYS:], business_day]


def heard_day(found: list[Presence], history: History) -> dict[str, int | float | None]:
    """The `heard_*` columns of one store and business day; adds the day's visitors to the history.

    New and repeat are devices and add up to `heard_visitors`; bounced and passers-by are presences,
    as are `heard_visits`, over whose dwell mean and median are taken (None without any).
    """
    roles = {role: [p for p in found if p.role == role] for role in ("visitor", "bounced", "passer_by")}
    visits = roles["visitor"]
    devices = sorted({p.address for p in visits})
    repeat = [address for address in devices if history.is_repeat(address, visits[0].business_day)]
    for address in devices:
        history.add(address, visits[0].business_day)
    dwells = [p.dwell_s for p in visits if p.dwell_s is not None]
    return {
        "heard_visitors": len(devices),
        "heard_visits": len(visits),
        "heard_bounced": len(roles["bounced"]),
        "heard_passers_by": len(roles["passer_by"]),
        "heard_staff_or_fixed": sum(p.role == "staff_or_fixed" for p in found),
        "heard_new": len(devices) - len(repeat),
        "heard_repeat": len(repeat),
        "heard_mean_dwell_s": fmean(dwells) if dwells else None,
        "heard_median_dwell_s": float(median(dwells)) if dwells else None,
    }


def day_of(store: StoreConfig, number: int) -> Day:
    """Bounds and opening hours of a business day, without the margin, in microseconds of true time."""
    date = date_of(number)
    settings = store.settings_on(date)
    days, hours = settings.business_days, settings.hours_on(date)
    opens = closes = 0
    if hours is not None:
        until = date if hours[1] > hours[0] else date + timedelta(days=1)
        opens, closes = local_ms(date, hours[0], days.zone), local_ms(until, hours[1], days.zone)
    bounds = days.starts_at_ms(number), days.starts_at_ms(number + 1)
    return Day(number, date.weekday(), bounds[0] * 1000, bounds[1] * 1000, opens * 1000, closes * 1000)


def being_name(being: int) -> str:
    """`visitor`, `passer_by`, `staff` or `fixed`."""
    return Being(being).name.lower()
