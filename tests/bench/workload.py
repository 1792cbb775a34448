"""The sightings that benchmarks are fed: one afternoon of a chain, the same for every contender, however it is cut.

Every device comes for one stay, three in ten come again. Silences within a stay are at most ten minutes, those between
two are longer than sixteen: with a gap of fifteen every engine finds the same sessions, however it treats a burst's
length. All of it is a function of the numbers below.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from footfall_events.schemas import SIGHTINGS, AddressClass, FrameKind
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.stores import ChainConfig, parse_chain
from numpy.typing import NDArray

BEGIN_MS = 1_780_315_200_000
"""2026-06-01 12:00 UTC, far from every cut-over."""
GAP_MS = 900_000
_RETURNS = 0.3
_STAY_MS = 1_200_000
_AWAY_MS = (1_000_000, 2_000_000)

SIGHTING = np.dtype([("store", "<i4"), ("device", "<u8"), ("ms", "<i8"), ("span", "<u2"), ("rssi", "i1")])
SESSION = np.dtype([("store", "<i4"), ("device", "<u8"), ("first", "<i8"), ("last", "<i8"), ("sightings", "<i8")])


@dataclass(frozen=True)
class Workload:
    """So many sightings of so many devices, spread evenly over the stores and over `hours`."""

    stores: int = 500
    devices: int = 100_000
    sightings: int = 2_000_000
    hours: float = 2.0
    seed: int = 1

    @property
    def toml(self) -> str:
        """The chain's configuration: a sensor a store, UTC, the usual rule."""
        stores = (f'[[stores]]\nid = "{store_id(number)}"\nsensors = ["door"]\n' for number in range(self.stores))
        return "\n".join(stores)

    @property
    def chain(self) -> ChainConfig:
        return parse_chain(tomllib.loads(self.toml))

    @cached_property
    def table(self) -> NDArray[np.void]:
        """Every sighting (SIGHTING), in the order of time."""
        random = np.random.default_rng(self.seed)
        each = self.sightings // self.devices
        rows = np.zeros((self.devices, each), SIGHTING)
        rows["device"] = random.choice(2**53, self.devices, replace=False).astype(np.uint64)[:, None]
        rows["store"] = (np.arange(self.devices) % self.stores)[:, None]
        silence = np.minimum(random.exponential(_STAY_MS / each, rows.shape), 600_000)
        again = np.flatnonzero(random.random(self.devices) < _RETURNS)
        silence[again, random.integers(1, each, len(again))] = random.integers(*_AWAY_MS, len(again))
        silence[:, 0] = 0
        times = np.cumsum(silence, axis=1)
        # Whoever would still be there at the end came earlier.
        latest = self.hours * 3_600_000 - times[:, -1]
        times += (random.random(self.devices) * np.maximum(latest, 0))[:, None]
        rows["ms"] = BEGIN_MS + times.astype(np.int64)
        rows["span"] = random.integers(0, 3000, rows.shape)
        rows["rssi"] = np.clip(random.normal(-62, 8, rows.shape), -85, -40)
        flat: NDArray[np.void] = rows.reshape(-1)
        return flat[np.argsort(flat["ms"], kind="stable")]

    @cached_property
    def sessions(self) -> NDArray[np.void]:
        """What every contender must find (SESSION), sorted by store, device and first; `last` is the latest end."""
        rows = self.table
        rows = rows[np.lexsort((rows["ms"], rows["device"], rows["store"]))]
        starts = np.ones(len(rows), bool)
        starts[1:] = (rows["device"][1:] != rows["device"][:-1]) | (np.diff(rows["ms"]) > GAP_MS)
        heads = np.flatnonzero(starts)
        found = np.zeros(len(heads), SESSION)
        for name, column in (("store", "store"), ("device", "device"), ("first", "ms")):
            found[name] = rows[column][heads]
        found["last"] = np.maximum.reduceat(rows["ms"] + rows["span"], heads)
        found["sightings"] = np.diff(np.append(heads, len(rows)))
        return found

    @cached_property
    def minutes(self) -> dict[tuple[int, int], int]:
        """Sightings in each (store, minute since 1970)."""
        codes, counts = np.unique(
            (self.table["store"].astype(np.int64) << 32) | (self.table["ms"] // 60_000), return_counts=True
        )
        return {
            (code >> 32, code & 0xFFFFFFFF): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        }

    def batches(self, rows_a_batch: int) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every message of `sightings.v1`, each store's in order, all stores side by side.

        The last batch of each store is final.
        """
        by_store = self.table[np.argsort(self.table["store"], kind="stable")]
        ends = np.searchsorted(by_store["store"], np.arange(self.stores), "right")
        begins = np.append(0, ends[:-1])
        columns = sightings_of(by_store)
        cuts = [
            (int(by_store["ms"][min(at + rows_a_batch, int(end)) - 1]), store, at, min(at + rows_a_batch, int(end)))
            for store, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True))
            for at in range(begin, end, rows_a_batch)
        ]
        for clock_ms, store, begin, end in sorted(cuts):
            name = store_id(store)
            seq = (begin - int(begins[store])) // rows_a_batch
            final = end == int(ends[store])
            # The collector ends when its last burst is over.
            clock_ms += 10_000 if final else 0
            header = BatchHeader(name, "door", "boot-1", seq, clock_ms, 1, "bench", final=final)
            yield name.encode(), encode_sightings(header, columns.slice(begin, end - begin))

    def json_messages(self) -> Iterator[tuple[bytes, bytes]]:
        """One JSON message a sighting in the order of time, keyed by store and device."""
        names = [store_id(number) for number in range(self.stores)]
        for store, device, ms, span, rssi in self.table.tolist():
            name = names[store]
            fields = {"store": name, "device": device, "ts": ms, "span_ms": span, "rssi": rssi}
            yield f"{name}/{device}".encode(), json.dumps(fields, separators=(",", ":")).encode()


def store_id(number: int) -> str:
    """Name of a store."""
    return f"store-{number:04}"


def sightings_of(rows: NDArray[np.void]) -> pa.RecordBatch:
    """A batch's rows from SIGHTING rows: global addresses, three frames each."""
    count = len(rows)
    columns = {
        "device_id": pa.array(rows["device"], pa.uint64()),
        "observed_at": pa.array(rows["ms"], pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
        "span_ms": pa.array(rows["span"], pa.uint16()),
        "rssi_dbm": pa.array(rows["rssi"], pa.int8()),
        "frames": pa.array(np.full(count, 3), pa.uint16()),
        "freq_mhz": pa.array(np.full(count, 2437), pa.uint16()),
        "address_class": pa.array(np.full(count, int(AddressClass.GLOBAL)), pa.int8()),
        "frame_kinds": pa.array(np.full(count, int(FrameKind.PROBE_REQUEST)), pa.uint8()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SIGHTINGS.names], schema=SIGHTINGS)
