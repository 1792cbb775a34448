"""Builds the Faust app: one agent over `sightings.v1`, no tables, topics made by `footfall topics apply`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials
from footfall_events.broker_access import check_access
from footfall_events.stores import load_chain
from footfall_events.topics import CHECKPOINTS, SIGHTINGS
from footfall_events.transport import KafkaTransport
from prometheus_client import CollectorRegistry

from footfall_streams.agents import SightingsAgent
from footfall_streams.checkpoint import describe_log
from footfall_streams.fetching import fetch_whole
from footfall_streams.fold import StoreJob
from footfall_streams.metrics import StreamMetrics
from footfall_streams.partitioning import partition_of
from footfall_streams.settings import StreamSettings


def build_app(settings: StreamSettings, registry: CollectorRegistry) -> faust.App:
    """An app ready to run. Raises ConfigError for a bad configuration or missing topics, BrokerUnavailable."""
    chain = load_chain(settings.config)
    check_access(settings.transport)
    facts = describe_log(settings.kafka())
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.bootstrap}",
        broker_credentials=_credentials(settings.transport),
        store="memory://",
        # Faust wants a directory; without tables nothing is ever in it, so all workers may share one.
        datadir=Path(tempfile.gettempdir(), f"footfall-faust-{os.getuid()}"),
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=4,  # what so many fetches brought of a partition, at most 1 MiB compressed each
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
        # A broker that has just started may not list the topics yet: a group that is assigned nothing for that reason
        # is assigned anew when the topics are seen, which by default is only after five minutes.
        consumer_metadata_max_age_ms=10_000,
        producer_max_request_size=int(CHECKPOINTS.config["max.message.bytes"]),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 6,
    )
    fetch_whole(app)
    job = StoreJob(chain, lambda key: partition_of(key, facts.partitions))
    metrics = StreamMetrics(registry)
    agent = SightingsAgent(app, job, settings.kafka(), facts, metrics, settings.fail_points)
    app.on_partitions_revoked.connect(agent.release)
    app.on_rebalance_complete.connect(agent.own)

    topic = app.topic(SIGHTINGS.name, key_serializer="raw", value_serializer="raw", acks=False)

    @app.agent(topic, concurrency=1)
    async def sightings(stream: Any) -> None:
        await agent.run(stream, settings.chunk_messages, settings.commit_interval_s)

    return app


def _credentials(transport: KafkaTransport) -> SASLCredentials | SSLCredentials | None:
    """What Faust's own consumer shows the broker; None for a plain one."""
    context = transport.ssl_context() if transport.tls else None
    if transport.login:
        return SASLCredentials(
            username=transport.username,
            password=transport.password,
            ssl_context=context,
            mechanism=transport.mechanism.upper(),
        )
    return SSLCredentials(context) if context else None
