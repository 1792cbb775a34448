"""Settings of the sink, read from a mapping (the environment, or options) at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from footfall_events.settings import SettingsReader
from footfall_events.transport import KafkaTransport

from footfall_sinks.address import ClickHouseAddress
from footfall_sinks.batch import Limits


@dataclass(frozen=True)
class SinkSettings:
    """How one sink reaches Kafka and ClickHouse, and how large its inserts are."""

    transport: KafkaTransport
    clickhouse: ClickHouseAddress
    group: str = "footfall-sink"
    limits: Limits = field(default_factory=Limits)
    session_timeout_s: float = 20.0
    store_timeout_s: float = 60.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9103

    @property
    def longest_step_s(self) -> float:
        """After so long without a poll the group goes on without this sink.

        A step may meet a store that hangs while it connects, twice, or while it inserts, after ten seconds of writing.
        """
        return self.session_timeout_s + 4 * self.store_timeout_s

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> SinkSettings:
        """Read FOOTFALL_* values; raises ConfigError with every problem."""
        read = SettingsReader(values)
        usual = Limits()
        settings = cls(
            transport=KafkaTransport.read(read),
            clickhouse=ClickHouseAddress.read(read),
            group=read.text("FOOTFALL_SINK_GROUP", cls.group),
            limits=Limits(
                rows=read.integer("FOOTFALL_SINK_ROWS", usual.rows, low=1, high=1_000_000),
                linger_s=read.number("FOOTFALL_SINK_LINGER_MS", usual.linger_s * 1000, low=10, high=60_000) / 1000,
                idle_s=read.number("FOOTFALL_SINK_IDLE_MS", usual.idle_s * 1000, low=10, high=60_000) / 1000,
            ),
            session_timeout_s=read.number("FOOTFALL_SESSION_TIMEOUT_S", cls.session_timeout_s, low=6, high=300),
            store_timeout_s=read.number("FOOTFALL_STORE_TIMEOUT_S", cls.store_timeout_s, low=1, high=600),
            metrics_host=read.text("FOOTFALL_METRICS_HOST", cls.metrics_host),
            metrics_port=read.integer("FOOTFALL_METRICS_PORT", cls.metrics_port, low=0, high=65_535),
        )
        read.finish()
        return settings

    def kafka(self) -> dict[str, str]:
        """Client configuration for confluent-kafka."""
        return self.transport.client()
