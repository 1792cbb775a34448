"""Sends batches and minutes to Kafka, strictly in order, and believes only delivery reports: without a spool."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from footfall_events.errors import BrokerUnavailable
from footfall_events.producing import PRODUCER
from footfall_events.rows import encode_rows
from footfall_events.sighting_batches import encode_sightings
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS

from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.outage import LOG, Outage
from footfall_collectors.session import Output

_FLUSH_S, _FLUSH_AFTER_SIGNAL_S = 60.0, 15.0
_SLICE_S = 0.5  # a signal is noticed between two waits only


def encoded(output: Output) -> tuple[str, bytes]:
    """The topic that an output belongs to, and its value there."""
    if output.header is None:
        return SENSOR_MINUTES.name, encode_rows(output.rows)
    return SIGHTINGS.name, encode_sightings(output.header, output.rows)


class Publisher:
    """One idempotent producer. A batch that Kafka does not confirm ends the run: nothing may follow a hole."""

    def __init__(self, client: Mapping[str, str], metrics: CollectorMetrics, outage: Outage, stop: Event) -> None:
        self._metrics, self._outage, self._stop = metrics, outage, stop
        self._failure: KafkaError | None = None
        self._waiting = self._confirmed = 0
        self._producer = Producer({**client, **PRODUCER, "linger.ms": 50, "error_cb": outage.heard}, logger=LOG)

    def send(self, store_id: str, output: Output) -> None:
        """Hand one output to the client; raises BrokerUnavailable once any delivery has failed."""
        topic, value = encoded(output)
        with _in_our_words():
            while True:
                try:
                    self._producer.produce(topic, value, store_id.encode(), on_delivery=self._report)
                    break
                except BufferError:
                    self._producer.poll(0.5)
                    self._judge()
                    if self._stop.is_set():
                        raise BrokerUnavailable("ended by a signal while Kafka took no batches") from None
            self._waiting += 1
            self._metrics.sent.labels(topic).inc()
            self._producer.poll(0)
        self._judge()

    def finish(self) -> None:
        """Wait for the report of everything sent; after a signal not for long."""
        waited_s = 0.0
        with _in_our_words():
            while left := self._producer.flush(_SLICE_S):
                self._judge()
                waited_s += _SLICE_S
                if waited_s >= (_FLUSH_AFTER_SIGNAL_S if self._stop.is_set() else _FLUSH_S):
                    raise BrokerUnavailable(f"{left} messages are not confirmed after {waited_s:.0f} s")
        self._judge()

    def close(self) -> None:
        """Let go of what is not confirmed."""
        self._producer.purge()

    def _report(self, error: KafkaError | None, message: Message) -> None:
        topic = message.topic() or ""
        self._waiting -= 1
        if error is None:
            self._confirmed += 1
            self._metrics.delivered.labels(topic).inc()
        else:
            self._metrics.failed.labels(topic, error.name()).inc()
            self._failure = error

    def _judge(self) -> None:
        self._outage.judge(time.monotonic(), self._waiting, self._confirmed)
        self._confirmed = 0
        if self._failure is not None:
            raise BrokerUnavailable(f"Kafka did not take a batch: {self._failure.str()}")


@contextmanager
def _in_our_words() -> Iterator[None]:
    """A fatal error of the client, which it raises wherever it is called."""
    try:
        yield
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka's client gave up: {error.args[0].str()}") from error
