"""What the stream worker counts, by name, for Prometheus."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class StreamMetrics:
    """Counters of everything taken, given and dropped; labels are reasons and stores, never devices."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"footfall_streams_{name}", text, labels, registry=registry)

        self._plain = {
            "batches": counter("batches", "sighting batches folded in"),
            "duplicate_batches": counter("duplicate_batches", "batches dropped because they were taken before"),
            "sightings": counter("sightings", "sightings in the batches folded in"),
            "late_sightings": counter("late_sightings", "sightings that started before their store's watermark"),
            "visits": counter("visits", "visit rows sent, revisions included"),
            "withdrawn_visits": counter("withdrawn_visits", "visit rows withdrawn"),
            # Not "store_minutes": promtool takes that for a unit of time.
            "store_minutes": counter("store_minute_rows", "store minute rows sent, revisions included"),
        }
        self._by_reason = {
            "dead_letters": counter("dead_letters", "messages sent to deadletters.v1", "reason"),
            "dropped_sightings": counter("dropped_sightings", "sightings that reached no presence", "reason"),
        }
        self.stale_messages = counter("skipped_messages", "messages not processed: already done, or stale", "reason")
        self.log_holes = counter("log_holes", "offsets missing from the log itself that were stepped over")
        self.commit_seconds = Histogram(
            "footfall_streams_commit_seconds",
            "time in the transactions of one step",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=registry,
        )
        self.commit_wait_seconds = counter("commit_wait_seconds", "time that folded steps waited for the one before")
        self.presences = Gauge("footfall_streams_presences", "presences held in memory", registry=registry)
        self.partitions = Gauge("footfall_streams_partitions", "partitions owned", registry=registry)
        self.watermark = Gauge(
            "footfall_streams_watermark_timestamp_seconds", "watermark of each store", ("store_id",), registry=registry
        )

    def tell(self, counts: Counts[str], presences: int, watermarks_ms: Mapping[str, int]) -> None:
        """Add a step's counts, named `kind` or `kind/reason`, and set what it left."""
        self.presences.set(presences)
        for store_id, watermark_ms in watermarks_ms.items():
            self.watermark.labels(store_id).set(watermark_ms / 1000)
        for name, amount in counts.items():
            kind, _, reason = name.partition("/")
            if reason:
                self._by_reason[kind].labels(reason).inc(amount)
            else:
                self._plain[kind].inc(amount)
