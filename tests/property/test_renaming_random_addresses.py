"""No random address is linked to another, all the way from frames to estimates (P-09).

Each capture is run twice, as it was heard and renamed as air.py says: every byte that leaves must be the same. What is
behind the collector's topics is a function of these bytes.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from weakref import WeakKeyDictionary

import footfall_collectors.bursts as bursts
import numpy as np
import pyarrow as pa
import pytest
from footfall_cli.simulator import simulate
from footfall_collectors.bursts import BurstArray
from footfall_collectors.collect import StoreRun
from footfall_collectors.dot11 import COUNTED, AddressMemory, Block, Frames, judge
from footfall_collectors.radio_minutes import RadioMinutes
from footfall_collectors.session import Batching, Heard, Output
from footfall_estimates.days import day_total
from footfall_estimates.fit import Labelled, fit
from footfall_estimates.minutes import heard
from footfall_estimates.occupancy import Filtered
from footfall_estimates.truth import Level, read_levels
from footfall_events.schemas import AddressClass
from footfall_events.stores import StoreSettings, parse_chain
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captures import CAPTURES
from tests.property.air import MINUTE_MS, SHOP, World, crowded_borders, renamed
from tests.unit.collector_runs import KEY, STORE, as_bytes

Break = Callable[[pytest.MonkeyPatch], None]
TRIES = 5


@dataclass(frozen=True)
class Outputs:
    """Everything that a capture ends up as: messages, the collector's own counters, a calibration, its estimates."""

    topics: list[bytes]
    counters: Heard
    calibration: str
    estimates: list[bytes]


class _Pipe(io.BytesIO):
    """Gives a capture piecemeal, so that bursts and minutes are held open between blocks."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(8192)


def outputs_of(capture: bytes, world: World) -> Outputs:
    chain = parse_chain({"stores": [world.store]})
    store = chain.stores[world.store["id"]]
    run = StoreRun(store, chain.privacy, KEY, Batching())
    sensor_id = world.store["sensors"][0]
    found = list(run.stream(sensor_id, "boot", _Pipe(capture)))
    assert not run.warnings
    minutes = heard(row for output in found if output.header is None for row in output.rows.to_pylist())
    calibration = fit(store.store_id, [Labelled("day", minutes, world.levels)])
    filtered = Filtered(calibration, minutes)
    people = filtered.occupancy()
    estimates = [array.tobytes() for array in (people.levels, people.live, people.history)]
    return Outputs(
        as_bytes(found),
        run.sessions[sensor_id].heard,
        calibration.to_json(),
        [*estimates, repr(day_total(minutes, filtered, people)).encode()],
    )


def assert_renaming_changes_nothing(world: World, rng: Random) -> None:
    other = renamed(world, rng)
    assert len(other) == len(world.capture)
    assert other != world.capture
    as_heard, as_renamed = outputs_of(world.capture, world), outputs_of(other, world)
    assert as_renamed.topics == as_heard.topics
    assert as_renamed.counters == as_heard.counters
    assert as_renamed.calibration == as_heard.calibration
    assert as_renamed.estimates == as_heard.estimates


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_renaming_changes_no_output_of_bursts_about_the_borders_of_minutes(seed: int) -> None:
    assert_renaming_changes_nothing(crowded_borders(seed), Random(seed + 1))


def test_renaming_changes_no_output_of_a_simulated_day(tmp_path: Path) -> None:
    assert_renaming_changes_nothing(simulated_day(tmp_path), Random(1))


@pytest.mark.captures
@pytest.mark.parametrize("stem", ["sc6-61_2022-11-08_position_1", "sc6-61_2024-04-04_position_1"])
def test_renaming_changes_no_output_of_a_real_capture(stem: str) -> None:
    site = CAPTURES / "brno_sc661"
    levels = read_levels(site / f"{stem}_occupancy.csv")
    assert_renaming_changes_nothing(World((site / f"{stem}.pcap").read_bytes(), STORE, levels), Random(1))


def test_replayed_files_of_two_sensors_differ_in_the_names_of_their_boots_only(tmp_path: Path) -> None:
    """A replay is named by the digest of its file, whatever differs in it. Each sensor is renamed on its own."""
    worlds = {name: crowded_borders(seed) for seed, name in enumerate("xy")}
    as_heard = _replayed(tmp_path, {name: world.capture for name, world in worlds.items()})
    as_renamed = _replayed(tmp_path, {name: renamed(world, Random(7)) for name, world in worlds.items()})
    assert as_bytes(as_renamed) != as_bytes(as_heard)
    assert as_bytes([_without_boot(output) for output in as_renamed]) == as_bytes(
        [_without_boot(output) for output in as_heard]
    )


def test_a_name_that_changes_a_millisecond_before_its_minute_is_over_is_noticed() -> None:
    """A minute is the sensor's, to the millisecond: a burst over its border may be renamed right there, not sooner."""
    for seed in range(TRIES):
        world = crowded_borders(seed)
        assert outputs_of(renamed(world, Random(1), early_ms=1), world) != outputs_of(world.capture, world)


def simulated_day(directory: Path) -> World:
    """A day of a small store with one sensor."""
    chain = simulate(directory, stores=1, days=1, visitors_per_day=30, sensors=1)
    (store,) = tomllib.loads(chain.config.read_text())["stores"]
    (path,) = chain.captures[store["id"]]
    inside = [
        (row["entered_at"].timestamp(), row["left_at"].timestamp())
        for row in chain.table("people").to_pylist()
        if row["kind"] in ("visitor", "staff")
    ]
    minutes = range(int(min(inside)[0]) // 60 - 60, int(max(left for _, left in inside)) // 60 + 60)
    levels = [Level(60 * m, 60 * m + 60, sum(came < 60 * m + 30 < left for came, left in inside)) for m in minutes]
    return World(path.read_bytes(), store, levels)


def _replayed(directory: Path, captures: Mapping[str, bytes]) -> list[Output]:
    files = {name: directory / f"{name}.pcap" for name in captures}
    for name, capture in captures.items():
        files[name].write_bytes(capture)
    chain = parse_chain({"stores": [{**SHOP, "sensors": list(captures)}]})
    return list(StoreRun(chain.stores["s"], chain.privacy, KEY, Batching()).files(files))


def _without_boot(output: Output) -> Output:
    if output.header is not None:
        return replace(output, header=replace(output.header, boot_id=""))
    return replace(output, rows=output.rows.drop_columns(["boot_id"]))


# -- teeth -------------------------------------------------------------------------------------------------


def _once_in_two_minutes() -> Break:
    """An address that was heard in the minute before is not counted again."""
    right = RadioMinutes._bands
    before: WeakKeyDictionary[RadioMinutes, set[int]] = WeakKeyDictionary()

    def wrong(self: RadioMinutes, found: BurstArray, count: int) -> dict[str, pa.Array]:
        is_new = ~np.isin(found["mac"], list(before.get(self, ())))
        before[self] = set(found["mac"].tolist())
        return right(self, found[is_new], count)

    return lambda patch: patch.setattr(RadioMinutes, "_bands", wrong)


def _judged(wrong: Callable[[Block, Frames, AddressMemory], Frames]) -> Break:
    def misjudge(block: Block, of_day: StoreSettings, memory: AddressMemory) -> Frames:
        return wrong(block, judge(block, of_day, memory), memory)

    return lambda patch: patch.setattr("footfall_collectors.session.judge", misjudge)


def _known_by_address(block: Block, frames: Frames, memory: AddressMemory) -> Frames:
    """A random address that is heard in more than one minute is somebody's."""
    classes = frames.address_class.copy()
    is_random = (frames.verdict == COUNTED) & (classes == AddressClass.RANDOM)
    for row in np.flatnonzero(is_random).tolist():
        minute = int(frames.ts_ms[row]) // MINUTE_MS
        # The session's own memory outlives the block; the bit keeps these apart from the addresses in it.
        if memory.associated.setdefault(int(frames.mac[row]) | 1 << 48, minute) != minute:
            classes[row] = AddressClass.ASSOCIATED
    return replace(frames, address_class=classes)


def _known_by_what_follows_the_address(begin: int, length: int) -> Callable[[Block, Frames, AddressMemory], Frames]:
    """Random addresses are taken for one if these bytes of their frames are the same."""

    def wrong(block: Block, frames: Frames, _: AddressMemory) -> Frames:
        mac = frames.mac.copy()
        for row in np.flatnonzero((frames.verdict == COUNTED) & (frames.address_class == AddressClass.RANDOM)).tolist():
            body = int(block.start[row]) + int(block.data[block.start[row] + 2])
            tell = block.data[body + begin : body + begin + length].astype(np.uint64)
            mac[row] = np.uint64(0x02 << 40) + tell.sum() % np.uint64(3)
        return replace(frames, mac=mac)

    return wrong


BROKEN = [
    pytest.param(_once_in_two_minutes(), id="an address is counted once in two minutes"),
    pytest.param(
        lambda patch: patch.setattr(bursts, "MINUTE_MS", 2 * MINUTE_MS), id="a burst goes on over every other border"
    ),
    pytest.param(_judged(_known_by_address), id="a random address is stable if it stays"),
    pytest.param(_judged(_known_by_what_follows_the_address(22, 2)), id="phones are known by their sequence numbers"),
    pytest.param(_judged(_known_by_what_follows_the_address(24, 4)), id="phones are known by their elements"),
]


@pytest.mark.parametrize("break_it", BROKEN)
def test_what_tells_them_apart_is_noticed_in_messages_and_estimates(break_it: Break) -> None:
    world = crowded_borders(1)
    other = renamed(world, Random(2))
    assert outputs_of(other, world) == outputs_of(world.capture, world)
    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        as_heard, as_renamed = outputs_of(world.capture, world), outputs_of(other, world)
    assert as_renamed.topics != as_heard.topics
    assert as_renamed.calibration != as_heard.calibration
    assert as_renamed.estimates != as_heard.estimates
