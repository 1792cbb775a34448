"""Has Faust read committed messages only: for that it has no setting outside its own transactions.

Else a batch that somebody sent in a transaction and took back would count, and the guard, which asks the log for its
committed messages, would find it where none should be.
"""

from __future__ import annotations

import aiokafka
import faust
from faust.transport.drivers import aiokafka as driver


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # handed to its fetcher when it starts
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


def read_committed(app: faust.App) -> None:
    """Before the app starts."""
    app.transport = _Transport(app.conf.broker_consumer, app)
