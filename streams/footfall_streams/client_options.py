"""Options of Kafka's client that Faust has no setting for."""

from __future__ import annotations

import aiokafka
import faust
from faust.transport.drivers import aiokafka as driver

_OPTIONS = {
    # Else a batch that somebody sent in a transaction and took back would count, and the guard, which asks the log for
    # its committed messages, would find it where none should be.
    "isolation_level": "read_committed",
    # Else the broker answers for every message by itself: at 500 a second that was a third of the worker's time. It
    # must stay far below what a fetch may bring of one partition, or a backlog would wait for more than may come.
    "fetch_min_bytes": 64 * 1024,
    "fetch_max_wait_ms": 100,
}


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        for name, value in _OPTIONS.items():
            if not hasattr(consumer, f"_{name}"):
                raise AttributeError(f"this aiokafka keeps its option {name} elsewhere")
            setattr(consumer, f"_{name}", value)  # handed to its fetcher when it starts
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


def set_client_options(app: faust.App) -> None:
    """Before the app starts."""
    app.transport = _Transport(app.conf.broker_consumer, app)
