"""What a simulated store is: its place, hours, sensors and access points, and the chain's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from footfall_events.stores import PrivacyPolicy
from numpy.typing import NDArray

MAX_STORES = 8192
GROUP = 3
"""Stores of one town: `index // GROUP` names it, and its stores share customers."""
IGNORED_OUI = "dc:fb:48"
CHANNELS_MHZ = (2412, 2437, 2462)
SENSOR_NAMES = ("door", "till", "hall", "loft")

_TOWNS = (
    ("Europe/Berlin", "central", "09:00-20:00", "closed"),
    ("Europe/London", "west", "08:00-19:00", "11:00-17:00"),
    ("America/New_York", "overseas", "10:00-21:00", "11:00-18:00"),
)
_LOW_46 = (1 << 46) - 1
_ODD = 0x9E3779B97F4A7C15 & _LOW_46 | 1
_PERSON_BIT = 1 << 45


def stream(seed: int, *path: int) -> np.random.Generator:
    """A generator of its own for every purpose, so that no store depends on how many there are."""
    return np.random.default_rng([seed, *path])


def addresses(seed: int, numbers: NDArray[np.int64], *, local: bool) -> NDArray[np.int64]:
    """A 48-bit address for each number below 2**46: never the same for two, never a group address."""
    mixed = numbers.astype(np.uint64) ^ np.uint64((seed * 0xD1B54A32D192ED03) & _LOW_46)
    for _ in range(2):
        # Both steps are bijections on 46 bits; unsigned overflow drops bits above them only.
        mixed = (mixed * np.uint64(_ODD)) & np.uint64(_LOW_46)
        mixed ^= mixed >> np.uint64(23)
    first = ((mixed >> np.uint64(40)) << np.uint64(2)) | np.uint64(2 if local else 0)
    return ((first << np.uint64(40)) | (mixed & np.uint64((1 << 40) - 1))).astype(np.int64)


def person_numbers(store: int, counters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of a person whose home is this store; `counters` are below 2**32."""
    return np.int64(_PERSON_BIT) | np.int64(store << 32) | counters


def passing_numbers(store: int, counters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers behind addresses used for one scan only; disjoint from those of persons."""
    return np.int64(store << 32) | counters


@dataclass(frozen=True)
class Sensor:
    """One sensor: metres into the store and along its front, and how its clock and card behave.

    `clock_offset_us` is what its clock shows beyond true time; under two seconds either way.
    """

    sensor_id: str
    depth_m: float
    along_m: float
    clock_offset_us: int
    freq_mhz: int
    keeps_fcs: bool


@dataclass(frozen=True)
class Site:
    """One simulated store; everything in it follows from the seed and `index` alone."""

    index: int
    store_id: str
    time_zone: str
    region: str
    opening: str
    sunday: str
    depth_m: float
    front_m: float
    busyness: float
    sensors: tuple[Sensor, ...]
    bssids: tuple[int, ...]


def busyness(seed: int, index: int) -> float:
    """How much busier than the average a store is, 0.75 to 1.25."""
    return float(stream(seed, index, 0).uniform(0.75, 1.25))


def site(seed: int, index: int, sensors: int) -> Site:
    """Store `index` of the chain that `seed` makes."""
    rng = stream(seed, index, 1)
    zone, region, opening, sunday = _TOWNS[index // GROUP % len(_TOWNS) if index >= GROUP else index]
    store_id = f"store-{index:03d}"
    depth, front = float(rng.uniform(16, 26)), float(rng.uniform(14, 24))
    places = [(1.5, 0.5), (0.75, 0.3), (0.6, 0.8), (0.9, 0.6)]
    made = []
    for number in range(sensors):
        into, along = places[number]
        made.append(
            Sensor(
                sensor_id=f"{store_id}-{SENSOR_NAMES[number]}",
                depth_m=into if number == 0 else into * depth,
                along_m=along * front,
                clock_offset_us=int(rng.integers(-1_800_000, 1_800_000)),
                freq_mhz=CHANNELS_MHZ[number % len(CHANNELS_MHZ)],
                keeps_fcs=number % 2 == 0,
            )
        )
    access_points = addresses(seed, passing_numbers(index, np.array([2**32 - 1, 2**32 - 2])), local=False)
    return Site(
        index=index,
        store_id=store_id,
        time_zone=zone,
        region=region,
        opening=opening,
        sunday=sunday,
        depth_m=depth,
        front_m=front,
        busyness=busyness(seed, index),
        sensors=tuple(made),
        bssids=tuple(int(address) for address in access_points),
    )


def colons(address: int) -> str:
    """An address as configuration files write it."""
    return ":".join(f"{octet:02x}" for octet in address.to_bytes(6, "big"))


def write_config(path: Path, sites: list[Site], policy: PrivacyPolicy) -> None:
    """The chain as a configuration file that `load_chain` accepts."""
    lines = ['chain = "simulated"', "", "[privacy]", f'policy = "{policy.policy}"', f"days = {policy.days}"]
    lines.append(f'scope = "{policy.scope}"')
    if policy.legal_basis:
        lines.append(f'legal_basis = "{policy.legal_basis}"')
    if policy.notice_date:
        lines.append(f"notice_date = {policy.notice_date.isoformat()}")
    for store in sites:
        sensors = ", ".join(f'"{sensor.sensor_id}"' for sensor in store.sensors)
        bssids = ", ".join(f'"{colons(bssid)}"' for bssid in store.bssids)
        lines += [
            "",
            "[[stores]]",
            f'id = "{store.store_id}"',
            f'name = "Simulated store {store.index}"',
            f'region = "{store.region}"',
            f'time_zone = "{store.time_zone}"',
            "cutover = 04:00:00",
            f"area_m2 = {round(store.depth_m * store.front_m)}",
            'rule = "retail"',
            f"sensors = [{sensors}]",
            f"own_bssids = [{bssids}]",
            f'ignored_ouis = ["{IGNORED_OUI}"]',
            "  [stores.opening]",
            f'  daily = "{store.opening}"',
            f'  sun = "{store.sunday}"',
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


DEFAULT_POLICY = PrivacyPolicy("loyalty", 30, "chain", "consent, recorded at the loyalty desk", date(2026, 1, 5))
