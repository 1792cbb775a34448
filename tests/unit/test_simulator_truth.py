"""The simulator's truth: people as they were drawn, and what the visit rule finds in the frames written."""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from footfall_cli import simulator_command
from footfall_cli.simulator import SimulatedChain, simulate
from footfall_cli.simulator_people import Day
from footfall_cli.simulator_radio import Frames, Kind
from footfall_cli.simulator_site import DEFAULT_POLICY, addresses
from footfall_cli.simulator_truth import (
    History,
    Listener,
    Presence,
    Sighting,
    day_of,
    heard_day,
    presences,
)
from footfall_events.errors import ConfigError
from footfall_events.stores import PrivacyPolicy, StoreConfig, parse_chain

GLOBAL, LOCAL = 0x3C22FB000001, 0x3E22FB000001
NOON_MS = 20_514 * 86_400_000 + 12 * 3_600_000
POLICY = {
    "policy": "loyalty",
    "days": 30,
    "scope": "chain",
    "legal_basis": "consent",
    "notice_date": date(2026, 1, 5),
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> SimulatedChain:
    return simulate(tmp_path_factory.mktemp("chain"), stores=3, days=3, seed=3, visitors_per_day=120)


def rows(chain: SimulatedChain, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chain.table(table).to_pylist()
    return found


def frames(heard: list[tuple[int, Kind, int, int]]) -> Frames:
    """Frames as a sensor captures them: ms after noon, kind, source, signal."""
    at, kind, source, dbm = (np.array(column) for column in zip(*heard, strict=True))
    zeros = np.zeros(len(heard))
    whole = (at.astype(np.int64) + NOON_MS) * 1000
    target = np.zeros(len(heard), np.int64)
    return Frames(
        whole, kind.astype(np.int8), source.astype(np.int64), target, zeros, zeros, zeros, dbm.astype(np.int8)
    )


def sightings(heard: list[tuple[int, Kind, int, int]]) -> dict[int, list[tuple[int, int, int | None]]]:
    found = Listener(900).sightings(frames(heard))
    return {
        address: [(s.start_ms - NOON_MS, s.end_ms - NOON_MS, s.rssi_dbm) for s in listed]
        for address, listed in found.items()
    }


def store(opening: str = "09:00-20:00") -> StoreConfig:
    document = {"stores": [{"id": "s", "sensors": ["a", "b"], "opening": {"daily": opening}}]}
    return parse_chain(document).stores["s"]


def found(heard: list[tuple[int, int, int]], opening: str = "09:00-20:00") -> list[Presence]:
    """Presences of one device; start and end in ms after noon, signal."""
    listed = [Sighting(NOON_MS + start, NOON_MS + end, dbm) for start, end, dbm in heard]
    place = store(opening)
    return presences(place, day_of(place, 20_514), [{GLOBAL: listed[::2]}, {GLOBAL: listed[1::2]}])


@pytest.mark.parametrize(
    ("times", "bursts"),
    [
        pytest.param([0, 1000], [(0, 1000)], id="a pause of a second does not split"),
        pytest.param([0, 1001], [(0, 0), (1001, 1001)], id="a longer one does"),
        pytest.param([*range(0, 11_000, 1000)], [(0, 10_000)], id="ten seconds are one burst"),
        pytest.param([*range(0, 12_000, 1000)], [(0, 10_000), (11_000, 11_000)], id="eleven are two"),
        pytest.param([500, 200, 900], [(500, 900)], id="time never goes back"),
    ],
)
def test_frames_of_a_stable_phone_make_bursts(times: list[int], bursts: list[tuple[int, int]]) -> None:
    heard = [(at, Kind.PROBE, GLOBAL, -60) for at in times]
    assert sightings(heard) == {GLOBAL: [(start, end, -60) for start, end in bursts]}


def test_an_implausible_signal_is_no_signal_and_the_strongest_counts() -> None:
    heard = [(0, Kind.PROBE, GLOBAL, 0), (10, Kind.PROBE, GLOBAL, -70), (20, Kind.PROBE, GLOBAL, -60)]
    assert sightings(heard) == {GLOBAL: [(0, 20, -60)]}
    assert sightings(heard[:1]) == {GLOBAL: [(0, 0, None)]}


def test_a_local_address_is_stable_from_its_association_until_it_was_silent_for_the_gap() -> None:
    heard = [
        (0, Kind.AUTHENTICATION, LOCAL, -60),
        (8, Kind.ASSOCIATION, LOCAL, -60),
        (900_008, Kind.AUTHENTICATION, LOCAL, -61),
        (1_800_009, Kind.AUTHENTICATION, LOCAL, -62),
        (1_800_010, Kind.PROBE, LOCAL + 1, -62),
    ]
    assert sightings(heard) == {LOCAL: [(8, 8, -60), (900_008, 900_008, -61)]}


def test_beacons_malformed_frames_and_ignored_makers_are_not_sightings() -> None:
    heard = [(at, kind, GLOBAL, -60) for at, kind in enumerate(Kind) if kind >= Kind.BEACON]
    assert sightings([*heard, (90, Kind.PROBE, 0xDCFB48000001, -60)]) == {}


@pytest.mark.parametrize(
    ("heard", "opening", "expected"),
    [
        pytest.param(
            [(0, 0, -60), (900_000, 900_000, -70)],
            "09:00-20:00",
            [("visitor", 900)],
            id="a silence of exactly the gap does not split",
        ),
        pytest.param(
            [(0, 0, -60), (900_001, 900_001, -60)],
            "09:00-20:00",
            [("bounced", 0), ("bounced", 0)],
            id="a longer one does",
        ),
        pytest.param([(0, 0, -66), (300_000, 300_000, -66)], "09:00-20:00", [("passer_by", None)], id="no entry"),
        pytest.param(
            [(0, 0, -65), (300_999, 300_999, -70), (400_000, 400_000, -71)],
            "09:00-20:00",
            [("visitor", 300)],
            id="dwell ends at the last sighting at or above stay, rounded down",
        ),
        pytest.param(
            [(0, 5_000, -65), (100, 299_999, -70)],
            "09:00-20:00",
            [("bounced", 299)],
            id="just short of the least dwell",
        ),
        pytest.param([(0, 0, -90), (10, 10, -91)], "09:00-20:00", [("passer_by", None)], id="too weak to count"),
        pytest.param([(0, 0, -91)], "09:00-20:00", [], id="nothing near enough"),
        pytest.param(
            [(at * 600_000, at * 600_000, -60) for at in range(25)],
            "09:00-20:00",
            [("visitor", 14_400)],
            id="four hours are a visit",
        ),
        pytest.param(
            [*((at * 600_000, at * 600_000, -60) for at in range(25)), (14_400_001, 14_400_001, -80)],
            "09:00-20:00",
            [("staff_or_fixed", 14_400)],
            id="a millisecond more is staff",
        ),
        pytest.param([(0, 1, -60)], "12:30-20:00", [("bounced", 0)], id="within the margin before opening"),
        pytest.param([(0, 1, -60)], "12:31-20:00", [("staff_or_fixed", 0)], id="before the margin"),
        pytest.param([(0, 1, -60)], "09:00-11:30", [("staff_or_fixed", 0)], id="a millisecond after closing"),
    ],
)
def test_the_visit_rule(
    heard: list[tuple[int, int, int]], opening: str, expected: list[tuple[str, int | None]]
) -> None:
    for arrival in (heard, heard[::-1]):
        assert [(p.role, p.dwell_s) for p in found(arrival, opening)] == expected


def visit(address: int, day: int) -> Presence:
    return Presence(address, day, 0, 600_000, 0, 600_000, 600, 2, -50, "visitor")


@pytest.mark.parametrize(
    ("policy", "earlier", "repeat"),
    [
        pytest.param(DEFAULT_POLICY, 20_513, 1, id="the day before"),
        pytest.param(DEFAULT_POLICY, 20_514, 0, id="the same day is not earlier"),
        pytest.param(DEFAULT_POLICY, 20_489, 0, id="another key: not comparable"),
        pytest.param(PrivacyPolicy(), 20_513, 0, id="a key a day knows no repeat"),
    ],
)
def test_repeat_means_a_visitor_visit_on_an_earlier_day_under_the_same_key(
    policy: PrivacyPolicy, earlier: int, repeat: int
) -> None:
    history = History(policy)
    heard_day([visit(GLOBAL, earlier)], history)
    today = heard_day([visit(GLOBAL, 20_514), visit(GLOBAL, 20_514), visit(LOCAL, 20_514)], history)
    assert (today["heard_visitors"], today["heard_visits"]) == (2, 3)
    assert (today["heard_repeat"], today["heard_new"]) == (repeat, 2 - repeat)


def test_days_run_from_cut_over_to_cut_over_across_daylight_saving() -> None:
    document = {"stores": [{"id": "s", "sensors": ["a"], "time_zone": "Europe/Berlin"}]}
    place = parse_chain(document).stores["s"]
    lengths = [day_of(place, 20_540 + n) for n in range(2)]
    hours = [(day.ends_us - day.starts_us) // 3_600_000_000 for day in lengths]
    assert hours == [23, 24]
    assert isinstance(lengths[0], Day)


def test_no_two_numbers_share_an_address_and_none_is_a_group_address() -> None:
    numbers = np.concatenate([np.arange(200_000), np.arange(200_000) + (1 << 45)]).astype(np.int64)
    for local in (False, True):
        made = addresses(5, numbers, local=local)
        assert len(np.unique(made)) == len(numbers)
        assert set(np.unique(made >> 40 & 3).tolist()) == {2 if local else 0}


def test_people_follow_the_numbers_asked_for(chain: SimulatedChain) -> None:
    people = rows(chain, "people")
    days = rows(chain, "store_days")
    assert len(days) == 9
    assert 0.8 * 120 * 0.9 < np.mean([day["true_visitors"] for day in days]) < 1.2 * 120
    visitors = [row for row in people if row["kind"] == "visitor"]
    randomising = sum(row["device"] != "global" for row in visitors) / len(visitors)
    assert 0.85 < randomising < 0.95
    assert all(row["left_at"] > row["entered_at"] for row in people)
    assert {row["kind"] for row in people} == {"visitor", "passer_by", "staff", "fixed"}
    assert {row["business_date"] for row in people} == {date(2026, 3, 2) + timedelta(n) for n in range(3)}


def test_nobody_visits_two_stores_on_one_day_and_some_do_on_two(chain: SimulatedChain) -> None:
    where: dict[int, dict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows(chain, "people"):
        if row["kind"] == "visitor":
            where[row["person_id"]][row["business_date"]].add(row["store_id"])
    assert all(len(stores) == 1 for days in where.values() for stores in days.values())
    assert any(len(set.union(*days.values())) > 1 for days in where.values())


def test_what_was_heard_adds_up_and_stays_within_what_was_there(chain: SimulatedChain) -> None:
    people, found = rows(chain, "people"), rows(chain, "presences")
    for day in rows(chain, "store_days"):
        key = day["store_id"], day["business_date"]
        mine = [row for row in found if (row["store_id"], row["business_date"]) == key]
        stable = {
            row["person_id"] for row in people if (row["store_id"], row["business_date"]) == key and row["stable"]
        }
        assert {row["person_id"] for row in mine} <= stable
        visits = [row for row in mine if row["role"] == "visitor"]
        assert day["heard_visits"] == len(visits)
        assert day["heard_visitors"] == len({row["person_id"] for row in visits}) > 0
        assert day["heard_new"] + day["heard_repeat"] == day["heard_visitors"]
        assert day["true_new"] + day["true_repeat"] == day["true_visitors"] > day["heard_visitors"]
        assert 0.6 < day["heard_mean_dwell_s"] / day["true_mean_dwell_s"] < 1.7
    last = [day for day in rows(chain, "store_days") if day["business_date"] == date(2026, 3, 4)]
    assert sum(day["heard_repeat"] for day in last) > 0


def test_a_device_is_never_in_two_presences_that_a_gap_does_not_part(chain: SimulatedChain) -> None:
    by_device: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows(chain, "presences"):
        by_device[row["store_id"], row["person_id"]].append(row)
    for mine in by_device.values():
        for before, after in pairwise(sorted(mine, key=lambda row: row["first_seen_at"])):
            apart = after["first_seen_at"] - before["last_seen_at"] > timedelta(seconds=900)
            assert apart or before["business_date"] < after["business_date"]


def test_fixed_devices_are_heard_all_day_and_the_ignored_maker_never(chain: SimulatedChain) -> None:
    fixed = {row["person_id"] for row in rows(chain, "people") if row["kind"] == "fixed"}
    heard = [row for row in rows(chain, "presences") if row["person_id"] in fixed]
    assert len(fixed) == 3 * 4
    assert len({row["person_id"] for row in heard}) == 3 * 3
    assert all(row["role"] == "staff_or_fixed" for row in heard if row["dwell_s"] and row["dwell_s"] > 14_400)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    simulator_command.add_arguments(parser)
    return simulator_command.run(parser.parse_args(list(words)), {})


def test_the_command_writes_the_chain_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(tmp_path / "out"), "--stores", "1", "--days", "1", "--visitors-per-day", "5") == 0
    assert "2 captures" in capsys.readouterr().out
    assert (tmp_path / "out" / "truth" / "people.parquet").exists()


def test_the_command_refuses_a_date_that_is_none_and_a_place_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--start"):
        command(str(tmp_path), "--start", "tomorrow")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        command(str(tmp_path / "file"), "--stores", "1", "--days", "1", "--visitors-per-day", "5")
