"""A clock that is set while a radio is listened to: the run ends, and no time is counted that nobody listened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from threading import Event

import pytest
from footfall_collectors.collect import StoreRun
from footfall_collectors.dot11 import Block
from footfall_collectors.session import Batching
from footfall_collectors.sources.live import live_blocks
from footfall_collectors.sources.radio_clock import RadioClock, Reading, read_clock
from footfall_events.stores import parse_chain

from tests.pipeline.virtual_radio import VirtualRadio
from tests.unit.collector_runs import KEY, STORE, probe

pytestmark = pytest.mark.radio


@pytest.mark.parametrize("step_s", [3 * 3600, -3 * 3600], ids=["forward", "back"])
def test_a_clock_that_is_set_ends_the_run_with_what_was_heard(step_s: int) -> None:
    chain = parse_chain({"stores": [STORE]})
    run = StoreRun(chain.stores["s"], chain.privacy, KEY, Batching(5_000))
    step_ms = 0

    def read() -> Reading:
        now = read_clock()
        return replace(now, wall_ms=now.wall_ms + step_ms)

    def heard_then_set(radio: VirtualRadio) -> Iterator[tuple[Block, int]]:
        nonlocal step_ms
        heard = live_blocks(radio.name, "", None, Event(), RadioClock(0, read))
        for number, (part, now_ms) in enumerate(islice(heard, 60)):  # it ends after a quarter of a minute at the latest
            yield part, now_ms
            if len(part.ts_ms):
                step_ms = step_s * 1000
            elif number:  # the run begins with the first part, and is to have listened for a quiet poll
                radio.transmit(probe("00:1b:2f:00:00:01"))

    with VirtualRadio(f"clock{os.getpid()}.{step_s > 0:d}") as radio:
        outputs = list(run.live("x", "boot", heard_then_set(radio)))
    (warning,) = run.warnings
    assert f"the clock was set {'forward' if step_s > 0 else 'back'} by {abs(step_s)} s" in warning
    assert sum(output.rows.num_rows for output in outputs if output.header) == 1
    listened = [row["listening_s"] for o in outputs if not o.header for row in o.rows.to_pylist()]
    assert len(outputs) < 10  # no heartbeats for hours that never were
    assert 0.2 < sum(listened) < 30
