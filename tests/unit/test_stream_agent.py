"""What a worker does with the step under way when the group takes its partitions back."""

from __future__ import annotations

import asyncio
from typing import cast

import faust
from footfall_events.stores import parse_chain
from footfall_streams.agents import SightingsAgent
from footfall_streams.checkpoint import LogFacts, PartitionLog
from footfall_streams.fail_points import NONE_ARMED
from footfall_streams.fold import StoreJob
from footfall_streams.metrics import StreamMetrics
from prometheus_client import CollectorRegistry


def test_partitions_are_given_back_only_once_the_transactions_under_way_are_done() -> None:
    asyncio.run(give_back())


async def give_back() -> None:
    job = StoreJob(parse_chain({"stores": [{"id": "s", "sensors": ["a"]}]}), lambda key: 0)
    registry = CollectorRegistry()
    agent = SightingsAgent(
        faust.App("unit", store="memory://"), job, {}, LogFacts("t", 1), StreamMetrics(registry), NONE_ARMED
    )
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    agent._committing, agent._logs = written, {0: cast(PartitionLog, None)}
    released = asyncio.ensure_future(agent.release())
    await asyncio.sleep(0.01)
    assert not released.done()
    written.set_result(None)
    await released
    assert not agent._logs, "a step that was gathered before would begin"
    assert registry.get_sample_value("footfall_streams_partitions") == 0
