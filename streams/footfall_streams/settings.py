"""Settings of the stream worker, read from a mapping (the environment, or options) at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from footfall_events.settings import SettingsReader
from footfall_events.transport import KafkaTransport

from footfall_streams.fail_points import FailPoints


@dataclass(frozen=True)
class StreamSettings:
    """How one worker reaches Kafka and how large its steps are."""

    transport: KafkaTransport
    config: Path
    group: str = "footfall-streams"
    commit_interval_s: float = 0.25
    chunk_messages: int = 2000
    session_timeout_s: float = 20.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9102
    fail_points: FailPoints = field(default_factory=FailPoints)

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> StreamSettings:
        """Read FOOTFALL_* values; raises ConfigError with every problem."""
        read = SettingsReader(values)
        fail_points = FailPoints()
        try:
            fail_points = FailPoints(values.get("FOOTFALL_FAIL_POINT", ""))
        except ValueError as error:
            read.problems.append(f"FOOTFALL_FAIL_POINT: {error}")
        settings = cls(
            transport=KafkaTransport.read(read),
            config=Path(read.text("FOOTFALL_CONFIG")),
            group=read.text("FOOTFALL_STREAM_GROUP", cls.group),
            commit_interval_s=read.number(
                "FOOTFALL_COMMIT_INTERVAL_MS", cls.commit_interval_s * 1000, low=10, high=10_000
            )
            / 1000,
            chunk_messages=read.integer("FOOTFALL_CHUNK_MESSAGES", cls.chunk_messages, low=1, high=100_000),
            session_timeout_s=read.number("FOOTFALL_SESSION_TIMEOUT_S", cls.session_timeout_s, low=6, high=300),
            metrics_host=read.text("FOOTFALL_METRICS_HOST", cls.metrics_host),
            metrics_port=read.integer("FOOTFALL_METRICS_PORT", cls.metrics_port, low=0, high=65_535),
            fail_points=fail_points,
        )
        read.finish()
        return settings

    @property
    def bootstrap(self) -> str:
        return self.transport.bootstrap

    def kafka(self) -> dict[str, str]:
        """Client configuration for confluent-kafka."""
        return self.transport.client()
