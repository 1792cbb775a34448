"""Who comes near a simulated store on one day, when, and with what kind of phone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from footfall_cli.simulator_site import GROUP, IGNORED_OUI, Site, addresses, busyness, person_numbers, stream

SECOND_US = 1_000_000
EDGE_US = 5 * SECOND_US
"""Nothing is sent this close to a cut-over, so that no clock offset moves a frame into another day."""

_POOL_DAYS = 8
_STAY_HOME_STORE = 0.85
_GUEST_SHARE = 0.2
_WEEKDAY = (0.9, 0.9, 0.95, 1.0, 1.15, 1.35, 0.7)
_PASSERS_PER_VISITOR = 2.5
_PASSERS, _STAFF, _FIXED = 1 << 28, 2 << 28, 3 << 28


class Being(IntEnum):
    """What somebody, or something, is to the store."""

    VISITOR = 0
    PASSER_BY = 1
    STAFF = 2
    FIXED = 3


class Phone(IntEnum):
    """What a phone shows: its own address, a per-network one once associated, or a new one for each scan."""

    GLOBAL = 0
    GUEST = 1
    RANDOM = 2


@dataclass(frozen=True)
class Attendance:
    """One row for each person-visit of a store's business day; times are true UTC microseconds.

    `address` is the one by which the phone can be recognised, 0 for one that always randomises.
    For a passer-by `entered_us` and `left_us` are coming into earshot and going out of it.
    """

    person: NDArray[np.int64]
    being: NDArray[np.int8]
    phone: NDArray[np.int8]
    address: NDArray[np.int64]
    entered_us: NDArray[np.int64]
    left_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True)
class Day:
    """A store's business day: number since 1970, its bounds and its opening hours, true UTC microseconds."""

    number: int
    weekday: int
    starts_us: int
    ends_us: int
    opens_us: int
    closes_us: int

    @property
    def is_open(self) -> bool:
        return self.closes_us > self.opens_us


@dataclass(frozen=True)
class Crowd:
    """How many come: visitors per store and average day, and the share of phones that randomise."""

    seed: int
    visitors_per_day: int
    randomising_share: float


def attendance(crowd: Crowd, store: Site, day: Day) -> Attendance:
    """Everybody who comes near the store on this day, in no particular order."""
    rng = stream(crowd.seed, store.index, day.number, 2)
    parts = [_passers_by(crowd, store, day, rng), _fixed(crowd, store, day)]
    if day.is_open:
        parts += [_visitors(crowd, store, day, rng), _staff(crowd, store, day, rng)]
    return Attendance(*(np.concatenate([getattr(part, name) for part in parts]) for name in Attendance.__annotations__))


def _phones(rng: np.random.Generator, count: int, randomising_share: float) -> NDArray[np.int8]:
    randomises, joins = rng.random(count) < randomising_share, rng.random(count) < _GUEST_SHARE
    return np.where(randomises, np.where(joins, Phone.GUEST, Phone.RANDOM), Phone.GLOBAL).astype(np.int8)


def _stable_addresses(seed: int, person: NDArray[np.int64], phone: NDArray[np.int8]) -> NDArray[np.int64]:
    """One address for a person in the whole chain: its stores share one network name."""
    by_maker = addresses(seed, person, local=False)
    by_network = addresses(seed, person, local=True)
    return np.where(phone == Phone.GLOBAL, by_maker, np.where(phone == Phone.GUEST, by_network, 0))


def _rows(
    crowd: Crowd,
    being: Being,
    person: NDArray[np.int64],
    phone: NDArray[np.int8],
    times: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Attendance:
    kind = np.full(len(person), being, np.int8)
    return Attendance(person, kind, phone, _stable_addresses(crowd.seed, person, phone), *times)


def _customers(crowd: Crowd, home: int, store: int, day: Day) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Customers whose home store is `home` and who visit `store` today: nobody visits two in a day."""
    size = crowd.visitors_per_day * _POOL_DAYS
    pool = stream(crowd.seed, home, 3)
    phones = _phones(pool, size, crowd.randomising_share)
    loyalty = pool.gamma(1.0, 1.0, size) + 0.01
    today = stream(crowd.seed, home, day.number, 4)
    expected = crowd.visitors_per_day * busyness(crowd.seed, home) * _WEEKDAY[day.weekday]
    number = min(int(today.poisson(expected)), size)
    chosen = today.choice(size, number, replace=False, p=loyalty / loyalty.sum())
    town = home // GROUP * GROUP
    elsewhere = town + (home - town + today.integers(1, GROUP, number)) % GROUP
    goes_to = np.where(today.random(number) < _STAY_HOME_STORE, home, elsewhere)
    chosen = chosen[goes_to == store]
    return person_numbers(home, chosen.astype(np.int64)), phones[chosen]


def _visitors(crowd: Crowd, store: Site, day: Day, rng: np.random.Generator) -> Attendance:
    town = store.index // GROUP * GROUP
    groups = [_customers(crowd, home, store.index, day) for home in range(town, town + GROUP)]
    person = np.concatenate([numbers for numbers, _ in groups])
    phone = np.concatenate([phones for _, phones in groups])
    count, open_us = len(person), day.closes_us - day.opens_us
    # Two humps, late morning and after work.
    early = rng.random(count) < 0.45
    moment = np.where(early, rng.beta(2.5, 4.5, count), rng.beta(6.0, 3.0, count))
    quick = rng.random(count) < 0.15
    dwell_s = np.where(quick, rng.uniform(40, 280, count), rng.lognormal(np.log(1100), 0.65, count))
    entered = day.opens_us + (moment * (open_us - 120 * SECOND_US)).astype(np.int64)
    left = entered + (np.clip(dwell_s, 40, 10_000) * SECOND_US).astype(np.int64)
    left = np.minimum(left, day.closes_us + 300 * SECOND_US)
    return _rows(crowd, Being.VISITOR, person, phone, (entered, left))


def _passers_by(crowd: Crowd, store: Site, day: Day, rng: np.random.Generator) -> Attendance:
    count = int(rng.poisson(crowd.visitors_per_day * store.busyness * _PASSERS_PER_VISITOR))
    phone = _phones(rng, count, crowd.randomising_share)
    # Nobody joins the shop's network from the street.
    phone[phone == Phone.GUEST] = Phone.RANDOM
    span_us = day.ends_us - day.starts_us - 2 * EDGE_US
    entered = day.starts_us + EDGE_US + (rng.beta(2.2, 2.8, count) * 0.85 * span_us).astype(np.int64)
    left = entered + rng.integers(20 * SECOND_US, 90 * SECOND_US, count)
    counter = np.arange(count, dtype=np.int64) + _PASSERS + (day.number % (1 << 14) << 14)
    return _rows(crowd, Being.PASSER_BY, person_numbers(store.index, counter), phone, (entered, left))


def _staff(crowd: Crowd, store: Site, day: Day, rng: np.random.Generator) -> Attendance:
    count = 4 + crowd.visitors_per_day // 150
    counter = np.arange(count, dtype=np.int64) + _STAFF
    always = stream(crowd.seed, store.index, 5)
    phone = always.choice([Phone.GLOBAL, Phone.GUEST, Phone.RANDOM], count, p=[0.35, 0.4, 0.25]).astype(np.int8)
    shift_us = int((day.closes_us - day.opens_us) * 0.7)
    opens = rng.random(count) < 0.5
    spread = rng.integers(0, 900 * SECOND_US, count)
    entered = np.where(opens, day.opens_us - 900 * SECOND_US - spread, day.closes_us - shift_us + spread)
    left = np.where(opens, entered + shift_us, day.closes_us + 600 * SECOND_US + spread)
    return _rows(crowd, Being.STAFF, person_numbers(store.index, counter), phone, (entered, left))


def _fixed(crowd: Crowd, store: Site, day: Day) -> Attendance:
    """Tills, printers and a camera that never leave; the camera's maker is one the store ignores."""
    counter = np.arange(4, dtype=np.int64) + _FIXED
    phone = np.full(4, Phone.GLOBAL, np.int8)
    entered = np.full(4, day.starts_us + EDGE_US, np.int64)
    left = np.full(4, day.ends_us - EDGE_US, np.int64)
    rows = _rows(crowd, Being.FIXED, person_numbers(store.index, counter), phone, (entered, left))
    maker = int(IGNORED_OUI.replace(":", ""), 16) << 24
    rows.address[-1] = maker | (int(rows.address[-1]) & 0xFFFFFF)
    return rows
