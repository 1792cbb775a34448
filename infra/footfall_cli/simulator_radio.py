"""What simulated phones send on one day, and which of it each sensor hears, how strong and when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from footfall_cli.simulator_people import EDGE_US, SECOND_US, Attendance, Being, Crowd, Day, Phone
from footfall_cli.simulator_site import Sensor, Site, addresses, passing_numbers, stream

BROADCAST = (1 << 48) - 1
FLOOR_DBM = -93
_AT_ONE_METRE_DBM, _PATH_LOSS = -36.0, 2.8
_LOST_SHARE = 0.06
_IMPLAUSIBLE_SHARE = 0.003
_EARLY_SHARE = 0.005
_MALFORMED_SHARE = 0.004


class Kind(IntEnum):
    """Kinds of frame the simulator writes; those from `BAD_LENGTH` on are malformed."""

    PROBE = 0
    AUTHENTICATION = 1
    ASSOCIATION = 2
    REASSOCIATION = 3
    DATA = 4
    NULL = 5
    BEACON = 6
    ACK = 7
    BAD_LENGTH = 8
    BAD_RADIOTAP = 9
    BAD_FCS = 10
    TRUNCATED = 11
    SHORT_HEADER = 12
    GROUP_SOURCE = 13
    ZERO_SOURCE = 14
    BAD_VERSION = 15


FIRST_MALFORMED = Kind.BAD_LENGTH


@dataclass(frozen=True)
class Frames:
    """Frames as columns: when, of what kind, from and to whom, and from where in the store.

    `when_us` is true time in what is sent and the sensor's clock in what is heard. `loss_db` is what
    walls and the phone itself take; `rssi_dbm` is zero until somebody hears the frame.
    """

    when_us: NDArray[np.int64]
    kind: NDArray[np.int8]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    depth_m: NDArray[np.float64]
    along_m: NDArray[np.float64]
    loss_db: NDArray[np.float64]
    rssi_dbm: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.when_us)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Frames:
        """The named rows, in the order named."""
        return Frames(*(getattr(self, name)[rows] for name in Frames.__annotations__))


def together(parts: list[Frames]) -> Frames:
    """All frames of the parts, in the order of time; equal times keep the order of the parts."""
    whole = Frames(*(np.concatenate([getattr(p, name) for p in parts]) for name in Frames.__annotations__))
    return whole.take(np.argsort(whole.when_us, kind="stable"))


@dataclass(frozen=True)
class _Bursts:
    """Moments at which a phone sends: the row of its attendance and the time."""

    row: NDArray[np.int64]
    when_us: NDArray[np.int64]


def _moments(
    rng: np.random.Generator, people: Attendance, rows: NDArray[np.int64], median_s: NDArray[np.float64]
) -> _Bursts:
    """Lognormal pauses from two seconds to half an hour, while each row's phone is there."""
    from_us, to_us = people.entered_us[rows], people.left_us[rows]
    expected = (to_us - from_us) / SECOND_US / median_s
    count = (expected * 1.3).astype(np.int64) + 4
    row = np.repeat(np.arange(len(rows)), count)
    # Tills and staff's phones are in use; a customer's may sleep for half an hour.
    longest_s = np.where(people.being[rows] >= Being.STAFF, 400.0, 1800.0)
    pause_s = np.clip(rng.lognormal(0.0, 1.0, len(row)) * median_s[row], 2.0, longest_s[row])
    first = np.cumsum(count) - count
    pause_s[first] *= rng.random(len(rows))
    elapsed = np.cumsum(pause_s)
    elapsed -= (elapsed[first] - pause_s[first])[row]
    when = from_us[row] + (elapsed * SECOND_US).astype(np.int64)
    inside = when < to_us[row]
    return _Bursts(rows[row[inside]], when[inside])


def _places(
    rng: np.random.Generator, store: Site, people: Attendance, bursts: _Bursts
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Depth, place along the front and loss of each burst; visitors come and go by the door."""
    people_count, count = len(people), len(bursts.row)
    row, when = bursts.row, bursts.when_us
    favourite = rng.random((2, people_count))[:, row]
    wander = rng.random((2, count))
    share = np.where(people.being == Being.FIXED, 0.0, 0.6)[row]
    depth, along = ((1 - share) * favourite + share * wander) * np.array([[store.depth_m], [store.front_m]])
    since = np.minimum(when - people.entered_us[row], people.left_us[row] - when) / SECOND_US
    at_door = (since < 20) & (people.being[row] != Being.FIXED)
    depth, along = np.where(at_door, 1.0, depth), np.where(at_door, store.front_m / 2, along)
    outside = people.being[row] == Being.PASSER_BY
    span = np.maximum(people.left_us - people.entered_us, 1)[row]
    walked = (when - people.entered_us[row]) / span
    street = rng.uniform(3, 14, people_count)[row]
    depth = np.where(outside, -street, depth)
    along = np.where(outside, store.front_m / 2 + (walked - 0.5) * 60, along)
    loss = rng.normal(2.0, 3.0, people_count)[row] + np.where(outside, 7.0, 0.0) + rng.normal(0.0, 2.0, count)
    return depth, along, loss


def _spread(
    rng: np.random.Generator,
    bursts: _Bursts,
    kind: NDArray[np.int8],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    places: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    most: int,
) -> Frames:
    """One to `most` frames for each burst, 4 to 60 ms apart: a burst lasts well under a second."""
    count = rng.integers(1, most + 1, len(bursts.row))
    burst = np.repeat(np.arange(len(count)), count)
    step = rng.integers(4_000, 60_000, len(burst))
    first = np.cumsum(count) - count
    passed = np.cumsum(step)
    passed -= passed[first][burst] if len(burst) else 0
    depth, along, loss = (column[burst] for column in places)
    when, unheard = bursts.when_us[burst] + passed, np.zeros(len(burst), np.int8)
    return Frames(when, kind[burst], source[burst], target[burst], depth, along, loss, unheard)


def sent(crowd: Crowd, store: Site, day: Day, people: Attendance) -> Frames:
    """Everything the phones near the store send on this day, in the order of time."""
    rng = stream(crowd.seed, store.index, day.number, 6)
    parts = [_scans(rng, crowd, store, day, people)]
    joins = (people.phone == Phone.GUEST) & (people.left_us - people.entered_us > 90 * SECOND_US)
    joined_us = people.entered_us + rng.integers(5 * SECOND_US, 60 * SECOND_US, len(people))
    guests = np.flatnonzero(joins)
    if len(guests):
        parts.append(_joining(rng, store, people, _Bursts(guests, joined_us[guests])))
    online = np.flatnonzero(joins | (people.being == Being.FIXED))
    parts.append(_traffic(rng, store, people, online, joined_us + SECOND_US))
    return together(parts)


def _scans(rng: np.random.Generator, crowd: Crowd, store: Site, day: Day, people: Attendance) -> Frames:
    median = np.select(
        [people.being == Being.PASSER_BY, people.being == Being.FIXED, people.phone == Phone.GUEST],
        [25.0, 240.0, 120.0],
        default=60.0,
    )
    bursts = _moments(rng, people, np.arange(len(people)), median)
    count = len(bursts.row)
    counter = np.arange(count, dtype=np.int64) + (day.number % (1 << 12) << 20)
    fresh = addresses(crowd.seed, passing_numbers(store.index, counter), local=True)
    own = people.phone[bursts.row] == Phone.GLOBAL
    source = np.where(own, people.address[bursts.row], fresh)
    target = np.full(count, BROADCAST, np.int64)
    places = _places(rng, store, people, bursts)
    return _spread(rng, bursts, np.full(count, Kind.PROBE, np.int8), source, target, places, 4)


def _joining(rng: np.random.Generator, store: Site, people: Attendance, bursts: _Bursts) -> Frames:
    """Authentication, then association 8 ms later, by the address the phone keeps for this network."""
    count = len(bursts.row)
    places = _places(rng, store, people, bursts)
    target = np.array(store.bssids, np.int64)[rng.integers(0, len(store.bssids), count)]
    parts = []
    for kind, later_us in ((Kind.AUTHENTICATION, 0), (Kind.ASSOCIATION, 8_000)):
        at = _Bursts(bursts.row, bursts.when_us + later_us)
        kinds = np.full(count, kind, np.int8)
        parts.append(_spread(rng, at, kinds, people.address[bursts.row], target, places, 1))
    return together(parts)


def _traffic(
    rng: np.random.Generator,
    store: Site,
    people: Attendance,
    online: NDArray[np.int64],
    from_us: NDArray[np.int64],
) -> Frames:
    """Data and null frames to the store's access points while associated, now and then a reassociation."""
    median = np.where(people.being == Being.FIXED, 400.0, 60.0)[online]
    bursts = _moments(rng, people, online, median)
    after = bursts.when_us > from_us[bursts.row]
    bursts = _Bursts(bursts.row[after], bursts.when_us[after])
    count = len(bursts.row)
    kinds = rng.choice([Kind.DATA, Kind.NULL, Kind.REASSOCIATION], count, p=[0.55, 0.4, 0.05])
    target = np.array(store.bssids, np.int64)[rng.integers(0, len(store.bssids), count)]
    source = people.address[bursts.row]
    places = _places(rng, store, people, bursts)
    return _spread(rng, bursts, kinds.astype(np.int8), source, target, places, 3)


def _surroundings(rng: np.random.Generator, store: Site, day: Day, heard: int) -> Frames:
    """Beacons of the store's and a neighbour's access points, acknowledgements and malformed frames."""
    starts, ends = day.starts_us + EDGE_US, day.ends_us - EDGE_US
    points = [*store.bssids, store.bssids[0] ^ 0x5A5A5A]
    when, kind, source = [], [], []
    for number, point in enumerate(points):
        own = np.arange(starts + number * 7 * SECOND_US, ends, 60 * SECOND_US)
        own = np.append(own, ends - number * SECOND_US)
        when.append(own)
        kind.append(np.full(len(own), Kind.BEACON))
        source.append(np.full(len(own), point))
    others = max(8, int(heard * _MALFORMED_SHARE))
    when.append(rng.integers(starts, ends, 2 * others))
    kind.append(np.concatenate([rng.integers(FIRST_MALFORMED, len(Kind), others), np.full(others, Kind.ACK)]))
    # A broken frame may carry any address; these are of the neighbour's, so none belongs to a person.
    source.append(np.full(2 * others, points[-1] ^ 0x010101))
    at = np.concatenate(when)
    count, far = len(at), rng.uniform(3, 9, sum(len(part) for part in when))
    return Frames(
        at,
        np.concatenate(kind).astype(np.int8),
        np.concatenate(source).astype(np.int64),
        np.full(count, BROADCAST, np.int64),
        far,
        far,
        rng.normal(0.0, 2.0, count),
        np.zeros(count, np.int8),
    )


def heard(crowd: Crowd, store: Site, day: Day, number: int, air: Frames) -> Frames:
    """What sensor `number` captures on this day, in the order of its file and on its own clock.

    One frame in two hundred is stamped up to 40 ms early, as by a driver whose clock is set back a little.
    """
    rng = stream(crowd.seed, store.index, day.number, 7, number)
    sensor = store.sensors[number]
    audible = _received(rng, sensor, air)
    around = _surroundings(rng, store, day, len(audible))
    kept = _received(rng, sensor, around, never_lost=True)
    both = together([audible, kept])
    stamps = both.when_us + sensor.clock_offset_us
    early = rng.random(len(both)) < _EARLY_SHARE
    stamps[early] -= rng.integers(1_000, 40_000, int(early.sum()))
    rssi = both.rssi_dbm.copy()
    rssi[rng.random(len(both)) < _IMPLAUSIBLE_SHARE] = 0
    place = (both.depth_m, both.along_m, both.loss_db)
    return Frames(stamps, both.kind, both.source, both.target, *place, rssi)


def _received(rng: np.random.Generator, sensor: Sensor, air: Frames, *, never_lost: bool = False) -> Frames:
    """Frames above the sensor's floor: log-distance path loss, and fading of each frame on its own."""
    distance = np.hypot(air.depth_m - sensor.depth_m, air.along_m - sensor.along_m) + 1.0
    level = _AT_ONE_METRE_DBM - 10 * _PATH_LOSS * np.log10(distance) - air.loss_db
    level = np.rint(level + rng.normal(0.0, 3.5, len(air)))
    lost = (level < FLOOR_DBM) | (rng.random(len(air)) < _LOST_SHARE)
    rssi = np.clip(level, FLOOR_DBM, -12).astype(np.int8)
    place = (air.depth_m, air.along_m, air.loss_db)
    tuned = Frames(air.when_us, air.kind, air.source, air.target, *place, rssi)
    return tuned if never_lost else tuned.take(~lost)
