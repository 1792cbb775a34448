"""What a collector counts, by name, for Prometheus; labels are sensors and reasons, never addresses."""

from __future__ import annotations

from copy import deepcopy

from prometheus_client import CollectorRegistry, Counter, Gauge

from footfall_collectors.session import Heard


class CollectorMetrics:
    """Counters of everything heard, sent and dropped by this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"footfall_collector_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"footfall_collector_{name}", text, registry=registry)

        self.frames = counter("frames", "frames heard, every one", "sensor_id")
        self.kernel_drops = counter("kernel_drops", "frames the kernel dropped before they were read", "sensor_id")
        self.rejected = counter("rejected_frames", "malformed frames", "sensor_id", "reason")
        self.ignored = counter(
            "ignored_frames", "well-formed frames not sent by a client of interest", "sensor_id", "reason"
        )
        self.sightings = counter("sightings", "sightings batched", "sensor_id")
        self.dropped = counter("dropped_sightings", "sightings dropped before they were sent", "sensor_id", "reason")
        self.sent = counter("messages_sent", "messages handed to Kafka's client, those sent again included", "topic")
        self.delivered = counter("messages_delivered", "messages that Kafka confirmed", "topic")
        self.failed = counter("messages_failed", "messages that Kafka refused or lost", "topic", "reason")
        self.client_errors = counter("client_errors", "what Kafka's client reported while it goes on trying", "reason")
        self.spool_dropped = counter("spool_dropped", "messages dropped from the spool, oldest first", "reason")
        self.spool_damaged = counter("spool_damaged", "spool files that were damaged and set aside")
        self.spool_messages = gauge("spool_messages", "messages in the spool that Kafka has not confirmed")
        self.spool_bytes = gauge("spool_bytes", "bytes of the spool's file that hold something")
        self.spool_oldest = gauge(
            "spool_oldest_age_seconds", "event time heard since the oldest message was spooled, 0 if there is none"
        )
        self.clock = Gauge(
            "footfall_collector_clock_timestamp_seconds", "clock of the last batch", ["sensor_id"], registry=registry
        )
        self._counted: dict[str, Heard] = {}

    def update(self, sensor_id: str, heard: Heard, clock_ms: int) -> None:
        """Bring a sensor's counters up to its session's counts."""
        before = self._counted.get(sensor_id, Heard())
        self.frames.labels(sensor_id).inc(heard.frames - before.frames)
        self.kernel_drops.labels(sensor_id).inc(heard.kernel_drops - before.kernel_drops)
        self.sightings.labels(sensor_id).inc(heard.sightings - before.sightings)
        for metric, now, then in (
            (self.rejected, heard.rejected, before.rejected),
            (self.ignored, heard.ignored, before.ignored),
            (self.dropped, heard.dropped_sightings, before.dropped_sightings),
        ):
            for reason, count in now.items():
                metric.labels(sensor_id, reason).inc(count - then[reason])
        self.clock.labels(sensor_id).set(clock_ms / 1000)
        self._counted[sensor_id] = deepcopy(heard)
