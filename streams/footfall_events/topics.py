"""Every Kafka topic as data: name, partitions, retention, compaction; created by `footfall topics apply`."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_PARTITIONS = 24
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """One topic. The key of every message is its `store_id` unless said otherwise.

    `partitions` is never changed in place: the partition of a store would change under its state.
    """

    name: str
    purpose: str
    config: dict[str, str] = field(default_factory=dict)
    partitions: int = DEFAULT_PARTITIONS


SIGHTINGS = Topic(
    "sightings.v1",
    "bursts of stable addresses, one Arrow batch a message, empty ones as heartbeats",
    # LogAppendTime: a sensor's clock is judged against the broker's, not against itself.
    {"retention.ms": str(7 * DAY_MS), "message.timestamp.type": "LogAppendTime"},
)
SENSOR_MINUTES = Topic(
    "sensor_minutes.v1",
    "what each sensor heard in each minute, counts only",
    {"retention.ms": str(7 * DAY_MS)},
)
VISITS = Topic("visits.v1", "closed visits and their withdrawals", {"retention.ms": str(7 * DAY_MS)})
STORE_MINUTES = Topic("store_minutes.v1", "per-minute counters of each store", {"retention.ms": str(7 * DAY_MS)})
DEAD_LETTERS = Topic(
    "deadletters.v1",
    "bytes that could not be processed, untouched, with the reason in the headers",
    # Room for the largest message of another topic, and the headers around it.
    {"retention.ms": str(30 * DAY_MS), "max.message.bytes": str(2 * 1024 * 1024)},
)
CHECKPOINTS = Topic(
    "checkpoints.v1",
    "state and next offset of each partition of sightings.v1, at the same partition number",
    {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": str(DAY_MS),
        "max.message.bytes": str(8 * 1024 * 1024),
    },
)
OPT_OUTS = Topic("opt_outs.v1", "pseudonyms that must not be collected", {"cleanup.policy": "compact"})

TOPICS: tuple[Topic, ...] = (
    SIGHTINGS,
    SENSOR_MINUTES,
    VISITS,
    STORE_MINUTES,
    DEAD_LETTERS,
    CHECKPOINTS,
    OPT_OUTS,
)
