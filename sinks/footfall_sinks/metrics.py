"""What the sink counts, by name, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class SinkMetrics:
    """Counters of everything inserted and dropped; labels are tables and reasons."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter("footfall_sinks_rows", "rows inserted, repeats included", ["table"], registry=registry)
        self.inserts = Counter("footfall_sinks_inserts", "inserts that succeeded", ["table"], registry=registry)
        self.dead_letters = Counter(
            "footfall_sinks_dead_letters", "messages sent to deadletters.v1", ["reason"], registry=registry
        )
        self.retries = Counter(
            "footfall_sinks_retries", "writes put off because something did not answer", ["reason"], registry=registry
        )
        self.dropped_blocks = Counter(
            "footfall_sinks_dropped_blocks", "blocks left to a partition's next owner", registry=registry
        )
        self.paused = Gauge("footfall_sinks_paused", "1 while the store or the broker is away", registry=registry)
        self.insert_seconds = Histogram(
            "footfall_sinks_insert_seconds",
            "time of one insert",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=registry,
        )
