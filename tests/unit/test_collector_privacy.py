"""Random addresses are counted and forgotten; stable ones leave as pseudonyms only."""

from __future__ import annotations

import stat
from pathlib import Path
from random import Random

import numpy as np
import pytest
from footfall_collectors.pseudonyms import EpochKey, Pseudonyms, init_key, load_key, throwaway_key
from footfall_events.errors import ConfigError
from footfall_events.stores import PrivacyPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.collector_runs import as_bytes, blocks_of, pcap, probe, run_blocks, session

START_MS = 1_700_000_000_000
CANARY = "00:1b:2f:de:ad:01"


def _mac(rng: Random, *, random: bool) -> str:
    first = rng.choice((0x02, 0x06, 0x0A, 0x0E)) | (rng.randrange(16) << 4) if random else 0x00
    return ":".join(f"{byte:02x}" for byte in (first, *(rng.randrange(256) for _ in range(5))))


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_renaming_random_addresses_leaves_every_byte_as_it_was(seed: int) -> None:
    """Renamed consistently within a minute, at will between minutes."""
    rng = Random(seed)
    stable = [_mac(rng, random=False) for _ in range(5)]
    names: dict[tuple[int, int], str] = {}
    first, second = [], []
    now = START_MS
    for _ in range(300):
        now += rng.choice((1, 20, 900, 1001, 20_000))
        rssi = rng.choice((-50, -58, -66, -90))
        if rng.random() < 0.3:
            frame = probe(rng.choice(stable), rssi)
            first.append((now, frame))
            second.append((now, frame))
        else:
            phone = rng.randrange(8)
            other = names.setdefault((now // 60_000, phone), _mac(rng, random=True))
            first.append((now, probe(f"02:00:00:00:00:{phone:02x}", rssi)))
            second.append((now, probe(other, rssi)))
    outputs = [as_bytes(run_blocks(blocks_of(pcap(frames)), session())) for frames in (first, second)]
    assert outputs[0] == outputs[1]


def test_a_capture_of_random_addresses_gives_heartbeats_and_counts_only() -> None:
    rng = Random(3)
    frames = [(START_MS + i * 700, probe(_mac(rng, random=True))) for i in range(400)]
    outputs = run_blocks(blocks_of(pcap(frames)), session())
    assert sum(output.rows.num_rows for output in outputs if output.header) == 0
    assert sum(sum(o.rows.column("random_bursts_all").to_pylist()) for o in outputs if not o.header) > 0


def test_no_spelling_of_an_address_is_in_anything_sent() -> None:
    frames = [(START_MS + i * 5000, probe(CANARY)) for i in range(100)]
    outputs = run_blocks(blocks_of(pcap(frames)), session())
    raw = bytes.fromhex(CANARY.replace(":", ""))
    spellings = [
        raw,
        raw[::-1],
        raw.hex().encode(),
        raw.hex().upper().encode(),
        CANARY.encode(),
        CANARY.upper().encode(),
    ]
    assert sum(output.rows.num_rows for output in outputs if output.header) == 100
    for value in as_bytes(outputs):
        assert not any(spelling in value for spelling in spellings)


def test_another_epoch_or_store_is_another_pseudonym_and_a_past_epoch_has_none() -> None:
    key, mac = EpochKey(100, b"k" * 32), np.array([0x001B2FDEAD01], np.uint64)
    here, there = Pseudonyms(key, "store", "here"), Pseudonyms(key, "store", "there")
    today, tomorrow = here.device_ids(100, mac), here.device_ids(101, mac)
    assert today is not None
    assert tomorrow is not None
    assert today[0] != tomorrow[0]
    assert here.device_ids(100, mac) == today
    assert there.device_ids(100, mac) != today
    assert Pseudonyms(key, "chain", "here").device_ids(100, mac) == Pseudonyms(key, "chain", "there").device_ids(
        100, mac
    )
    assert here.device_ids(99, mac) is None


def test_a_throwaway_key_names_nobody_twice_over_epochs_stores_and_processes() -> None:
    key, mac = throwaway_key(100), np.array([0x001B2FDEAD01], np.uint64)
    cases = [(key, "here", 100), (key, "here", 101), (key, "there", 100), (throwaway_key(100), "here", 100)]
    found = [Pseudonyms(made, "store", store).device_ids(epoch, mac) for made, store, epoch in cases]
    assert len({int(ids[0]) for ids in found if ids is not None}) == len(cases)
    assert Pseudonyms(key, "store", "here").device_ids(100, mac) == found[0]
    assert Pseudonyms(key, "store", "here").device_ids(99, mac) is None
    assert key.secret.hex() not in repr(key)


def test_a_key_file_is_private_never_overwritten_and_bound_to_its_policy(tmp_path: Path) -> None:
    path, daily = tmp_path / "key.toml", PrivacyPolicy()
    init_key(path, daily, 20_000)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path, daily).epoch == 20_000
    assert load_key(path, daily).secret.hex() not in repr(load_key(path, daily))
    with pytest.raises(ConfigError, match="never overwritten"):
        init_key(path, daily, 20_001)
    with pytest.raises(ConfigError, match="made for policy"):
        load_key(path, PrivacyPolicy("loyalty", 30, "chain"))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        load_key(path, daily)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f'key = "{"ab" * 32}"'], id="no epoch"),
        pytest.param(["epoch = 1"], id="no key"),
        pytest.param(["epoch = -1", f'key = "{"ab" * 32}"'], id="an epoch before 1970"),
        pytest.param(["epoch = true", f'key = "{"ab" * 32}"'], id="a truth for an epoch"),
        pytest.param(['epoch = "1"', f'key = "{"ab" * 32}"'], id="a text for an epoch"),
        pytest.param(["epoch = 1", f'key = "{"ab" * 31}"'], id="a key too short"),
        pytest.param(["epoch = 1", f'key = "{"xy" * 32}"'], id="a key that is not hexadecimal"),
        pytest.param(["epoch = 1", "key = 5"], id="a number for a key"),
    ],
)
def test_a_damaged_key_file_is_refused_without_its_key(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "key.toml"
    path.write_text("\n".join(['policy = "daily"', 'scope = "store"', "days = 1", *lines]))
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load_key(path, PrivacyPolicy())
    assert caught.value.problems == [f"{path}: epoch or key is missing or damaged"]
