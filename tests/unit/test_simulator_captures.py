"""The simulator's files, read back by scapy: frames, addresses, signal, time."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from footfall_cli.simulator import SimulatedChain, simulate
from footfall_cli.simulator_site import DEFAULT_POLICY
from footfall_events.business_days import date_of
from footfall_events.errors import ConfigError
from footfall_events.stores import PrivacyPolicy, load_chain
from scapy.layers.dot11 import Dot11, RadioTap
from scapy.utils import RawPcapReader

LOCAL_BIT = 0x02


def small(directory: Path, *, stores: int = 2, days: int = 2, seed: int = 7) -> SimulatedChain:
    return simulate(directory, stores=stores, days=days, seed=seed, visitors_per_day=30, randomising_share=0.5)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> SimulatedChain:
    return simulate(
        tmp_path_factory.mktemp("chain"), stores=2, days=2, seed=7, visitors_per_day=30, randomising_share=0.5
    )


def records(path: Path) -> list[tuple[int, bytes]]:
    """Stamp in microseconds and bytes of each record, as scapy reads them."""
    with RawPcapReader(str(path)) as reader:
        assert reader.linktype == 127
        return [(meta.sec * 1_000_000 + meta.usec, raw) for raw, meta in reader]


def bodies(path: Path) -> list[tuple[int, int, bytes]]:
    """Stamp, signal and 802.11 bytes of the frames whose header is whole, parsed by hand."""
    found = []
    for stamp, raw in records(path):
        if raw[0] == 0 and int.from_bytes(raw[2:4], "little") == 24 and not raw[16] & 0x40:
            frame = raw[24 : len(raw) - 4] if raw[16] & 0x10 else raw[24:]
            if len(frame) >= 24 and not frame[0] & 3 and not frame[10] & 1 and any(frame[10:16]):
                found.append((stamp, int.from_bytes(raw[22:23], signed=True), frame))
    return found


def digests(directory: Path, *, truth: bool = True) -> dict[str, str]:
    files = (p for p in sorted(directory.rglob("*")) if p.is_file() and (truth or p.suffix == ".pcap"))
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def all_paths(chain: SimulatedChain) -> list[Path]:
    return [path for paths in chain.captures.values() for path in paths]


def test_scapy_reads_every_well_formed_frame_as_the_kind_and_signal_it_has(chain: SimulatedChain) -> None:
    kinds: Counter[tuple[int, int]] = Counter()
    for stamp, raw in records(chain.captures["store-000"][0])[:3000]:
        if raw[0] or int.from_bytes(raw[2:4], "little") != 24 or len(raw) < 24 + 24 + 4 or raw[24] & 3:
            continue
        tap = RadioTap(raw)
        assert tap.dBm_AntSignal == int.from_bytes(raw[22:23], signed=True)
        assert tap.mac_timestamp == stamp
        assert tap.ChannelFrequency in (2412, 2437, 2462)
        frame = tap[Dot11]
        kinds[frame.type, frame.subtype] += 1
        if frame.type == 2:
            assert "to_DS" in frame.FCfield
            assert "from_DS" not in frame.FCfield
    assert {(0, 4), (0, 8), (0, 11), (0, 0), (2, 8), (2, 4)} <= set(kinds)


def test_frame_check_sequences_are_right_where_the_radiotap_header_says_there_are_any(
    chain: SimulatedChain,
) -> None:
    with_fcs = 0
    for _, raw in records(chain.captures["store-000"][0]):
        if raw[16] & 0x10:
            with_fcs += 1
            assert zlib.crc32(raw[24:-4]).to_bytes(4, "little") == raw[-4:]
    assert with_fcs > 0
    assert not any(raw[16] & 0x10 for _, raw in records(chain.captures["store-000"][1]))


def test_the_truth_counts_the_frames_and_malformed_frames_of_each_file(chain: SimulatedChain) -> None:
    rows: list[dict[str, Any]] = chain.table("sensors").to_pylist()
    for path in all_paths(chain):
        mine = [row for row in rows if row["sensor_id"] == path.stem]
        raw = records(path)
        assert sum(row["frames"] for row in mine) == len(raw)
        acknowledgements = sum(record[24:25] == b"\xd4" for _, record in raw)
        rest = len(raw) - acknowledgements - len(bodies(path))
        assert sum(row["malformed"] for row in mine) == rest > 0


def test_every_frame_lies_within_the_business_days_simulated(chain: SimulatedChain) -> None:
    config = load_chain(chain.config)
    for store_id, paths in chain.captures.items():
        days = config.stores[store_id].versions[0].business_days
        for path in paths:
            stamps = [stamp for stamp, _ in records(path)]
            found = {date_of(days.number_at(stamp // 1000)) for stamp in (min(stamps), max(stamps))}
            assert found == {date(2026, 3, 2), date(2026, 3, 3)}
            backwards = [a - b for a, b in pairwise(stamps) if a > b]
            assert backwards, "some frames are stamped early"
            assert max(backwards) < 41_000


def test_a_random_address_is_used_for_one_scan_of_one_phone_only(chain: SimulatedChain) -> None:
    for path in all_paths(chain):
        associating: set[bytes] = set()
        first: dict[bytes, int] = {}
        last: dict[bytes, int] = {}
        for stamp, _, frame in bodies(path):
            source = frame[10:16]
            if not source[0] & LOCAL_BIT:
                continue
            if frame[0] == 0x40:
                first.setdefault(source, stamp)
                last[source] = stamp
            else:
                associating.add(source)
        assert len(first) > 300
        assert not associating & set(first), "a per-network address never scans"
        assert max(last[source] - first[source] for source in first) < 1_000_000


def test_stores_of_one_chain_hear_the_same_customers_but_no_random_address_twice(tmp_path: Path) -> None:
    town = simulate(tmp_path, stores=2, days=4, seed=7, visitors_per_day=60, randomising_share=0.4)
    heard, scanning = [], set()
    for paths in town.captures.values():
        sent = [frame for path in paths for _, _, frame in bodies(path) if frame[0] != 0x80]
        heard.append({frame[10:16] for frame in sent})
        scanning |= {frame[10:16] for frame in sent if frame[0] == 0x40 and frame[10] & LOCAL_BIT}
    both = heard[0] & heard[1]
    assert both, "some customers visit both stores"
    assert scanning
    assert not both & scanning


def test_associated_guests_speak_to_the_access_points_of_their_own_store(chain: SimulatedChain) -> None:
    config = load_chain(chain.config)
    for store_id, paths in chain.captures.items():
        own = {bytes.fromhex(b.replace(":", "")) for b in config.stores[store_id].versions[0].own_bssids}
        for path in paths:
            to_store = [f for _, _, f in bodies(path) if f[0] in (0x00, 0x20, 0xB0, 0x88, 0x48)]
            assert to_store
            assert {frame[4:10] for frame in to_store} == own


def test_signal_is_plausible_but_for_a_few_frames_and_falls_with_distance(chain: SimulatedChain) -> None:
    door, till = (bodies(path) for path in chain.captures["store-000"])
    levels = [dbm for _, dbm, frame in door if frame[0] == 0x40]
    assert 0 < sum(dbm == 0 for dbm in levels) < 0.02 * len(levels)
    assert all(dbm == 0 or -93 <= dbm <= -12 for dbm in levels)
    assert len({frame for _, _, frame in till} - {frame for _, _, frame in door}) > 0
    night = date_hours(chain)
    by_day = [dbm for stamp, dbm, frame in door if frame[0] == 0x40 and stamp < night and dbm]
    assert max(by_day) - min(by_day) > 40


def date_hours(chain: SimulatedChain) -> int:
    """End of the first simulated day of the first store, microseconds."""
    days = load_chain(chain.config).stores["store-000"].versions[0].business_days
    return days.starts_at_ms(days.number_at(records(chain.captures["store-000"][0])[0][0] // 1000) + 1) * 1000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(chain: SimulatedChain, tmp_path: Path) -> None:
    small(tmp_path / "again")
    small(tmp_path / "other", seed=8)
    assert digests(tmp_path / "again") == digests(chain.directory)
    other, mine = digests(tmp_path / "other", truth=False), digests(chain.directory, truth=False)
    assert other.keys() == mine.keys()
    assert all(other[name] != mine[name] for name in mine)


def test_a_store_and_its_truth_do_not_depend_on_how_many_stores_or_days_there_are(
    chain: SimulatedChain, tmp_path: Path
) -> None:
    more = small(tmp_path / "more", stores=5)
    assert digests(chain.directory, truth=False).items() <= digests(more.directory, truth=False).items()
    few, many = chain.table("store_days").to_pylist(), more.table("store_days").to_pylist()
    assert [row for row in many if row["store_id"] in chain.captures] == few
    shorter = small(tmp_path / "shorter", days=1)
    for store_id, paths in shorter.captures.items():
        for short, long in zip(paths, chain.captures[store_id], strict=True):
            assert long.read_bytes().startswith(short.read_bytes())


def test_two_hundred_stores_are_made_store_by_store(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    large = simulate(tmp_path, stores=200, days=1, visitors_per_day=3, sensors=1, progress=lambda *at: seen.append(at))
    assert seen == [(done, 200) for done in range(1, 201)]
    assert len(load_chain(large.config).stores) == 200
    assert large.table("store_days").num_rows == 200
    assert all(path.stat().st_size > 1000 for path in all_paths(large))


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(PrivacyPolicy(), id="daily"),
        pytest.param(PrivacyPolicy("loyalty", 7, "store", "consent", date(2026, 1, 5)), id="loyalty"),
        pytest.param(DEFAULT_POLICY, id="default"),
    ],
)
def test_the_configuration_written_states_the_policy_it_was_given(policy: PrivacyPolicy, tmp_path: Path) -> None:
    made = simulate(tmp_path, stores=1, days=1, visitors_per_day=2, policy=policy)
    config = load_chain(made.config)
    assert config.privacy == policy
    assert tuple(path.stem for path in made.captures["store-000"]) == config.stores["store-000"].sensors


def test_numbers_out_of_range_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        simulate(tmp_path / "none", stores=0, days=-1, randomising_share=1.5, sensors=9)
    assert len(caught.value.problems) == 4
    assert not (tmp_path / "none").exists()
