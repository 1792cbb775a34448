"""Sends batches and minutes to Kafka, strictly in order, and believes only delivery reports."""

from __future__ import annotations

from threading import Event

from confluent_kafka import KafkaError, Message, Producer
from footfall_events.errors import BrokerUnavailable
from footfall_events.rows import encode_rows
from footfall_events.sighting_batches import encode_sightings
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS

from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.session import Output

_FLUSH_S, _FLUSH_AFTER_SIGNAL_S = 60.0, 15.0
_SLICE_S = 0.5  # a signal is noticed between two waits only


class Publisher:
    """One idempotent producer. A batch that Kafka does not confirm ends the run: nothing may follow a hole."""

    def __init__(self, bootstrap: str, metrics: CollectorMetrics, stop: Event) -> None:
        self._metrics = metrics
        self._stop = stop
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                # The partitioner of the Java and aiokafka clients, so that all agree where a store lives.
                "partitioner": "murmur2_random",
                "linger.ms": 50,
            }
        )

    def send(self, store_id: str, output: Output) -> None:
        """Hand one output to the client; raises BrokerUnavailable once any delivery has failed."""
        if output.header is None:
            topic, value = SENSOR_MINUTES.name, encode_rows(output.rows)
        else:
            topic, value = SIGHTINGS.name, encode_sightings(output.header, output.rows)
        while True:
            try:
                self._producer.produce(topic, value, store_id.encode(), on_delivery=self._report)
                break
            except BufferError:
                self._producer.poll(0.5)
                self._judge()
                if self._stop.is_set():
                    raise BrokerUnavailable("ended by a signal while Kafka took no batches") from None
        self._metrics.sent.labels(topic).inc()
        self._producer.poll(0)
        self._judge()

    def finish(self) -> None:
        """Wait for the report of everything sent; after a signal not for long."""
        waited_s = 0.0
        while left := self._producer.flush(_SLICE_S):
            self._judge()
            waited_s += _SLICE_S
            if waited_s >= (_FLUSH_AFTER_SIGNAL_S if self._stop.is_set() else _FLUSH_S):
                raise BrokerUnavailable(f"{left} messages are not confirmed after {waited_s:.0f} s")
        self._judge()

    def _report(self, error: KafkaError | None, message: Message) -> None:
        topic = message.topic() or ""
        if error is None:
            self._metrics.delivered.labels(topic).inc()
        else:
            self._metrics.failed.labels(topic, error.name()).inc()
            self._failure = error

    def _judge(self) -> None:
        if self._failure is not None:
            raise BrokerUnavailable(f"Kafka did not take a batch: {self._failure.str()}")
