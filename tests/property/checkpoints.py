"""What a checkpoint holds, and what an older release would have written in its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from footfall_streams.columns import Columns
from footfall_streams.fold import StoreJob
from footfall_streams.minutes import starts_ms, stores_of
from footfall_streams.state import ROWS_OF_FORMAT_1, read_segment
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
                held[kind] += read_segment(value).num_rows
    return held


def as_format_1(checkpoint: Checkpoint, job: StoreJob, world: World) -> Checkpoint:
    """The same state in entries by store and hour."""
    presences, minutes = (Columns.concatenate(of.parts()) for of in (job.presences, job.minutes))
    older = {
        partition: {key: value for key, value in entries.items() if key.startswith(b"clock/")}
        for partition, entries in checkpoint.items()
    }
    for kind, rows, stores, began_ms in (
        ("presences", presences, presences["store"], presences["first"]),
        ("minutes", minutes, stores_of(minutes["key"]), starts_ms(minutes["key"])),
    ):
        records = rows.records(ROWS_OF_FORMAT_1[kind])
        for number, name in enumerate(sorted(world.partitions)):
            for hour, part in _by_hour(records[stores == number], began_ms[stores == number]).items():
                older[world.partitions[name]][f"{kind}/{name}/{hour}".encode()] = b"\x01" + part.tobytes()
    return older


def _by_hour(records: NDArray[np.void], began_ms: NDArray[np.int64]) -> dict[int, NDArray[np.void]]:
    hours = began_ms // HOUR_MS
    return {hour: records[hours == hour] for hour in set(hours.tolist())}
