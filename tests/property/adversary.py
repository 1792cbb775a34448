"""Nasty worlds: stores, sensors and sightings that meet every edge of the rules, with faults on the way to the log.

Rows are aimed at the edges as they stand when their batch is made: the watermark, the horizon, the cut-over, a
gap after or before what was heard. `StoreReference` says where those are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from tests.oracle.store_settings import Row, business_date, settings_at
from tests.property.reference import MINUTE_MS, ROW_LEAD_MS, StoreReference
from tests.property.worlds import SentBatch, Sighting, World

HOUR_MS = 3_600_000
WIDE_HORIZON_S = 7 * 86_400
DEVICES = (1, 2, 3, 2**63 + 5, 2**64 - 1)
# Zones with the days (UTC) on which their clocks change, half hours and shifts across midnight among them.
ZONES = (
    ("UTC", ()),
    ("Asia/Kathmandu", ()),
    ("Europe/Berlin", ("2026-03-29T01:00", "2026-10-25T01:00")),
    ("Australia/Lord_Howe", ("2026-04-04T15:00", "2026-10-03T15:30")),
    ("America/St_Johns", ("2026-03-08T05:30", "2026-11-01T04:30")),
    ("America/Santiago", ("2026-04-05T03:00", "2026-09-06T04:00")),
)


def _rule(random: Random, store: str, number: int) -> Row:
    enter = random.choice([-65, -60, -50])
    stay = enter - random.choice([0, 5])
    dwell = random.choice([0, 1, 60, 120])
    engaged = dwell + random.choice([0, 60, 100])
    return {
        "name": f"{store}{number}",
        "version": number,
        "enter_dbm": enter,
        "stay_dbm": stay,
        "passer_by_dbm": stay - random.choice([0, 5, 20]),
        "min_dwell_s": dwell,
        "gap_s": random.choice([1, 30, 60, 61, 120, 300, 900]),
        "engaged_s": engaged,
        "max_visit_s": engaged + random.choice([1, 600, 3600]),
    }


def _opening(random: Random) -> Row:
    opens, closes = (f"{random.randrange(24):02}:{random.choice((0, 30)):02}" for _ in range(2))
    return {"daily": random.choice(["all day", "closed", *[f"{opens}-{closes}"] * 2])}


def _start(random: Random, changes: tuple[str, ...], zone: ZoneInfo, cutover: time) -> datetime:
    """A cut-over, or the instant at which the zone's clocks change."""
    if changes and random.random() < 0.5:
        return datetime.fromisoformat(f"{random.choice(changes)}+00:00")
    return datetime.combine(date(2026, 1, 5) + timedelta(days=random.randrange(300)), cutover, zone)


def _store(random: Random, name: str, *, wide: bool) -> tuple[Row, int]:
    """A store's TOML table and the instant, ms, at which its story starts: some time before an edge of its calendar."""
    zone, clock_changes = random.choice(ZONES)
    cutover = time(random.choice([0, 2, 3, 4, 4, 12]))
    edge = _start(random, clock_changes, ZoneInfo(zone), cutover)
    day = edge.astimezone(ZoneInfo(zone)).date()
    store: Row = {
        "id": name,
        "sensors": list("abcd"[: random.randrange(1, 5)]),
        "time_zone": zone,
        "cutover": cutover,
        "allowed_lateness_s": random.choice([0, 0, 1, 30, 120]),
        "max_clock_lead_s": 1,
        "stale_after_s": random.choice([2, 61, 300, 300, 1800]),
        "revision_horizon_s": WIDE_HORIZON_S if wide else random.choice([0, 1, 60, 600, 3600, 14_400, 86_400]),
        "opening_margin_s": random.choice([0, 60, 1800]),
        "opening": _opening(random),
        "rule": _rule(random, name, 1),
        "changes": [],
    }
    for offset in sorted(random.sample([-1, 0, 1, 2], random.choice([0, 0, 1, 2]))):
        change: Row = {"valid_from": day + timedelta(days=offset), "rule": _rule(random, name, offset + 3)}
        if random.random() < 0.5:
            change["opening"] = _opening(random)
        store["changes"].append(change)
    before_ms = random.choice([0, 30, 60, 120]) * MINUTE_MS + random.choice([0, 0, 1, 999, 30_000])
    return store, int(edge.timestamp()) * 1000 - before_ms


def _heard_by(clock_ms: int, at_ms: int) -> int:
    """That time, or the nearest that a batch of this clock may hold: one with a row ahead of it is dead-lettered."""
    return max(0, min(at_ms, clock_ms + ROW_LEAD_MS))


@dataclass
class _Sensor:
    """One sensor of a store; while it is dark its batches wait in `spool`, first in, first out."""

    name: str
    boot: int = 0
    seq: int = 0
    is_dark: bool = False
    spool: list[SentBatch] = field(default_factory=list)


@dataclass
class _Story:
    """One store as its world unfolds. In a world of `links` devices are heard on and on, faintly."""

    store: Row
    now_ms: int
    reference: StoreReference
    sensors: list[_Sensor]
    links: bool


class Adversary:
    """Makes one world. `wide`: the horizon is behind everything, so that nothing comes too late."""

    def __init__(self, random: Random, *, wide: bool) -> None:
        self._random = random
        self._wide = wide
        self._devices = random.sample(DEVICES, random.randrange(1, 4))
        self._is_calm = random.random() < 0.3
        self._log: list[SentBatch] = []
        self._delayed: list[SentBatch] = []
        self._stories = {name: self._story(name) for name in "stu"[: random.choice([1, 1, 1, 2, 3])]}

    def _story(self, name: str) -> _Story:
        store, start_ms = _store(self._random, name, wide=self._wide)
        sensors = [_Sensor(sensor) for sensor in store["sensors"]]
        return _Story(store, start_ms, StoreReference(store), sensors, self._random.random() < 0.3)

    def world(self, steps: int) -> World:
        """The world after that many batches were made, all of them delivered, each store closed by a final one."""
        for _ in range(steps):
            self._step(self._random.choice(list(self._stories.values())))
        for story in self._stories.values():
            for sensor in story.sensors:
                self._deliver(*sensor.spool)
        self._deliver(*self._delayed)
        for name, story in self._stories.items():
            newest_ms = max([story.now_ms, *story.reference.sensors.values()]) + 2 * ROW_LEAD_MS
            end_ms = newest_ms + self._random.choice([0, MINUTE_MS, story.reference.gap_ms])
            self._deliver(SentBatch(story.sensors[0].name, 0, end_ms, (), final=True, store=name, boot="end"))
        partitions = {name: self._random.choice([0, 0, 1]) for name in self._stories}
        return World(tuple(story.store for story in self._stories.values()), partitions, tuple(self._log))

    def _deliver(self, *batches: SentBatch) -> None:
        for batch in batches:
            self._log.append(batch)
            self._stories[batch.store].reference.take(batch)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _step(self, story: _Story) -> None:
        story.now_ms += self._advance(story)
        sensor = self._random.choice(story.sensors)
        if not self._is_calm and self._chance(0.05):
            sensor.is_dark = not sensor.is_dark
        if self._chance(0.04):
            sensor.boot, sensor.seq = sensor.boot + 1, self._random.choice([0, 0, 5])
        batch = self._batch(story, sensor)
        sensor.seq += self._random.choice([1] * 30 + [4])
        if sensor.is_dark or sensor.spool:
            sensor.spool.append(batch)
        elif self._chance(0.08):
            self._delayed.append(batch)
        else:
            self._deliver(batch)
        for other in story.sensors:
            while other.spool and not other.is_dark and self._chance(0.7):
                self._deliver(other.spool.pop(0))
        if self._delayed and self._chance(0.2):
            self._deliver(self._delayed.pop(self._random.randrange(len(self._delayed))))
        if self._log and self._chance(0.09):
            self._deliver(self._random.choice([self._log[-1], *self._random.choices(self._log, k=2)]))

    def _advance(self, story: _Story) -> int:
        gap_ms = story.reference.gap_ms
        if not self._is_calm and self._chance(0.05):
            return self._random.choice([HOUR_MS // 2, HOUR_MS, 3 * HOUR_MS, 9 * HOUR_MS, 27 * HOUR_MS])
        if story.links:
            return self._random.choice([gap_ms // 2, gap_ms // 2, gap_ms, 1000])
        return self._random.choice([0, 1, 1000, 5000, 20_000, 60_000, 60_000, 61_000, gap_ms, gap_ms + 1, gap_ms // 2])

    def _batch(self, story: _Story, sensor: _Sensor) -> SentBatch:
        clock_ms = story.now_ms - self._random.choice([0, 0, 0, 1, 700, 10_000])
        rows = []
        for _ in range(self._random.choice([0, 0, 1, 1, 1, 2, 3])):
            aim = self._link if story.links and self._chance(0.8) else self._edge
            rows.append(aim(story, sensor.name, clock_ms))
        final = not self._is_calm and self._chance(0.02)
        epoch = self._random.choice([1, 1, 1, 1, 2])
        return SentBatch(
            sensor.name, sensor.seq, clock_ms, tuple(rows), final, story.store["id"], f"boot{sensor.boot}", epoch
        )

    def _edge(self, story: _Story, sensor: str, clock_ms: int) -> Sighting:
        """A sighting at some edge."""
        device = self._random.choice(self._devices)
        span_ms = self._random.choice([0, 0, 1, 1000, 9999, 10_000])
        edges = [
            *self._edges_of_time(story, clock_ms),
            *self._edges_of_horizon(story.reference),
            *self._edges_of_gap(story, device, span_ms),
        ]
        at_ms = _heard_by(clock_ms, self._random.choice(edges))
        rule = settings_at(story.store, at_ms)["rule"]
        levels = [rule["enter_dbm"], rule["stay_dbm"], rule["passer_by_dbm"]]
        rssi = self._random.choice([-40, None, *levels, *(level - 1 for level in levels)])
        return Sighting(sensor, device, at_ms, span_ms, rssi, self._random.choice([1, 1, 2]))

    def _link(self, story: _Story, sensor: str, clock_ms: int) -> Sighting:
        """A faint sighting that keeps a chain going, or now and then a near one put late before it."""
        device = self._random.choice(self._devices)
        rule = settings_at(story.store, clock_ms)["rule"]
        gap_ms = rule["gap_s"] * 1000
        heard = sorted(row["observed_ms"] for row in self._heard(story, device))
        if heard and self._chance(0.3):
            at_ms = self._random.choice(heard[-6:]) - self._random.choice([gap_ms, gap_ms // 2])
            rssi = self._random.choice([-40, -40, rule["passer_by_dbm"]])
        else:
            at_ms = clock_ms - self._random.choice([0, 0, 1, gap_ms // 4])
            rssi = self._random.choice([rule["passer_by_dbm"]] * 4 + [rule["stay_dbm"]])
        at_ms = _heard_by(clock_ms, at_ms)
        return Sighting(sensor, device, at_ms, self._random.choice([0, 0, 1000]), rssi)

    def _edges_of_time(self, story: _Story, clock_ms: int) -> list[int]:
        minute_ms = clock_ms // MINUTE_MS * MINUTE_MS
        zone, cutover = ZoneInfo(story.store["time_zone"]), story.store["cutover"]
        day = business_date(story.store, clock_ms)
        cut_ms = int(datetime.combine(day, cutover, zone).timestamp()) * 1000
        return [
            *(clock_ms + offset for offset in (0, -1, -5000, -self._random.randrange(MINUTE_MS), 10_000, ROW_LEAD_MS)),
            *(minute_ms + offset for offset in (-1, 0, 1)),
            *(cut_ms + offset for offset in (-5000, -1, 0, 1)),
        ]

    def _edges_of_horizon(self, reference: StoreReference) -> list[int]:
        if not reference.watermark_ms:
            return []
        late_ms = self._random.randrange(2 * reference.gap_ms)
        edges = [reference.watermark_ms - offset for offset in (0, 1, late_ms)]
        if not self._wide:
            edges += [reference.horizon_ms + offset for offset in (0, 0, -1, 1)]
        return edges

    def _edges_of_gap(self, story: _Story, device: int, span_ms: int) -> list[int]:
        edges: list[int] = []
        recent = self._heard(story, device)[-12:]
        for row in self._random.sample(recent, min(3, len(recent))):
            gap_ms = settings_at(story.store, row["observed_ms"])["rule"]["gap_s"] * 1000
            start_ms, end_ms = row["observed_ms"], row["observed_ms"] + row["span_ms"]
            edges += [end_ms + gap_ms, end_ms + gap_ms, end_ms + gap_ms + 1, end_ms + gap_ms // 2, end_ms]
            edges += [start_ms - gap_ms - span_ms, start_ms - gap_ms - span_ms - 1, start_ms - gap_ms // 2, start_ms]
        return edges

    def _heard(self, story: _Story, device: int) -> list[Row]:
        return [row for row in story.reference.accepted if row["mac"].startswith(f"{device} ")]


def nasty_world(random: Random, *, wide: bool = False, steps: int | None = None) -> World:
    """A nasty world of about that many batches."""
    return Adversary(random, wide=wide).world(steps or random.choice([8, 15, 25, 40]))
