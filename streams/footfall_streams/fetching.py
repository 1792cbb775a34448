"""How Faust's Kafka client fetches: whole fetches as one message each, and options that Faust has no setting for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import aiokafka
import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

_OPTIONS = {
    # Else a batch that somebody sent in a transaction and took back would count, and the guard, which asks the log for
    # its committed messages, would find it where none should be.
    "isolation_level": "read_committed",
    # Else the broker answers for every message by itself: at 500 a second that was a third of the worker's time. It
    # must stay far below what a fetch may bring of one partition, or a backlog would wait for more than may come.
    "fetch_min_bytes": 64 * 1024,
    "fetch_max_wait_ms": 100,
}


@dataclass(frozen=True)
class Fetched:
    """Messages of one partition, their offsets ascending, and the group's generation in which they were fetched."""

    partition: int
    generation: int
    records: Sequence[aiokafka.ConsumerRecord[bytes, bytes]]


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        for name, value in _OPTIONS.items():
            if not hasattr(consumer, f"_{name}"):
                raise AttributeError(f"this aiokafka keeps its option {name} elsewhere")
            setattr(consumer, f"_{name}", value)  # handed to its fetcher when it starts
        return consumer


class _Consumer(driver.Consumer):
    """Hands on what a fetch brought of a partition as one message, whose value is the list of records.

    Faust spends two tasks and a dozen calls on every message; a worker that spends less than that on the batch in it
    is made of little else. An offset of such a message is that of its last record.
    """

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, Any]:
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [records] for tp, records in fetched.items() if records}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        message = super()._to_message(tp, record[-1])
        message.key, message.value = None, record
        return message


class _Transport(driver.Transport):
    Consumer = _Consumer


def fetch_whole(app: faust.App) -> None:
    """Before the app starts. Its topics must be raw, and none may have acks: Faust would count single messages."""
    app.transport = _Transport(app.conf.broker_consumer, app)


async def chunks(stream: Any, most: int, within_s: float) -> AsyncGenerator[list[Fetched]]:
    """What the stream brings, in chunks of at most so many messages; a smaller one waits `within_s` for more.

    What is not handed on when the stream ends is not acknowledged either, and comes again.
    """
    loop = asyncio.get_running_loop()
    events = aiter(stream.events())
    coming = asyncio.ensure_future(anext(events, None))
    chunk: list[Fetched] = []
    size, due = 0, 0.0
    try:
        while True:
            await asyncio.wait({coming}, timeout=max(0.0, due - loop.time()) if chunk else None)
            if not coming.done():
                yield chunk
                chunk, size = [], 0
                continue
            event = coming.result()
            if event is None:
                return
            coming = asyncio.ensure_future(anext(events, None))
            records = event.message.value
            while records:
                taken, records = records[: most - size], records[most - size :]
                due = due if chunk else loop.time() + within_s
                chunk.append(Fetched(event.message.partition, event.message.generation_id, taken))
                size += len(taken)
                if size == most:
                    yield chunk
                    chunk, size = [], 0
    finally:
        coming.cancel()
