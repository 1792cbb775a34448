"""What a checkpoint holds, and what an older release would have written in its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from footfall_streams.fold import StoreJob
from footfall_streams.state import ROWS_OF_FORMAT_1
from numpy.typing import NDArray

from tests.property.worlds import World

HOUR_MS = 3_600_000
Entries = Mapping[int, Mapping[bytes, bytes | None]]
Checkpoint = dict[int, dict[bytes, bytes]]


def rows_held(checkpoint: Entries) -> Counter[str]:
    """Rows in the segments of each kind."""
    held: Counter[str] = Counter()
    for entries in checkpoint.values():
        for key, value in entries.items():
            kind = key.decode().split("/")[0]
            if kind in ROWS_OF_FORMAT_1 and value is not None:
                held[kind] += pa.ipc.open_stream(value).read_next_batch().num_rows
    return held


def as_format_1(checkpoint: Checkpoint, job: StoreJob, world: World) -> Checkpoint:
    """The same state in entries by store and hour."""
    presences, minutes = job.presences.rows, job.minutes.rows
    older = {
        partition: {key: value for key, value in entries.items() if key.split(b"/")[0].decode() not in ROWS_OF_FORMAT_1}
        for partition, entries in checkpoint.items()
    }
    for kind, rows, stores, starts_ms in (
        ("presences", presences, presences["store"], presences["first"]),
        ("minutes", minutes, minutes["key"] >> 32, (minutes["key"] & 0xFFFFFFFF) * 60_000),
    ):
        records = rows.records(ROWS_OF_FORMAT_1[kind])
        for number, name in enumerate(sorted(world.partitions)):
            for hour, part in _by_hour(records[stores == number], starts_ms[stores == number]).items():
                older[world.partitions[name]][f"{kind}/{name}/{hour}".encode()] = b"\x01" + part.tobytes()
    return older


def _by_hour(records: NDArray[np.void], starts_ms: NDArray[np.int64]) -> dict[int, NDArray[np.void]]:
    hours = starts_ms // HOUR_MS
    return {hour: records[hours == hour] for hour in set(hours.tolist())}
