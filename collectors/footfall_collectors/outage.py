"""Whether Kafka confirms what it is given, told when it changes; what its client says meanwhile is only counted."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError

from footfall_collectors.metrics import CollectorMetrics

PATIENCE_S = 5.0
"""Without a confirmation for so long, while something waits for one, Kafka counts as away."""

LOG = logging.getLogger(__name__)
"""Takes librdkafka's own lines, thousands in a night; whoever wants them gives it a handler."""
LOG.addHandler(logging.NullHandler())


class Outage:
    """One line when an outage begins and one when it ends."""

    def __init__(self, metrics: CollectorMetrics, say: Callable[[str], None]) -> None:
        self._metrics, self._say = metrics, say
        self._waiting_since_s: float | None = None
        self._last_error = ""
        self.begun = False

    def heard(self, error: KafkaError) -> None:
        """An error of the client, which goes on trying by itself."""
        self._metrics.client_errors.labels(error.name()).inc()
        # That all brokers are down follows an error that says why.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last_error = error.str()

    def judge(self, now_s: float, waiting: int, confirmed: int) -> None:
        """Called again and again with a monotonic time, what is waiting now, and how many came through since."""
        if confirmed or not waiting:
            self._waiting_since_s = None
        if confirmed and self.begun:
            self.begun = False
            self._say("Kafka confirms again")
        if waiting and self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if self._waiting_since_s is None or self.begun or now_s - self._waiting_since_s < PATIENCE_S:
            return
        self.begun = True
        why = f" ({self._last_error})" if self._last_error else ""
        self._say(f"Kafka confirms nothing since {PATIENCE_S:.0f} s{why}: what is heard waits for it")
