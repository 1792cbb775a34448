"""Watches the topics while everything around fails: where each stands, and how long a fault was felt."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from footfall_cli.drained import SINK_GROUP
from footfall_events.topics import CHECKPOINTS, SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS
from footfall_streams.state import OFFSET_KEY, Progress

Ends = dict[tuple[str, int], int]
OUTPUTS = (VISITS.name, STORE_MINUTES.name, SENSOR_MINUTES.name)


@dataclass
class Felt:
    """A fault, and what had to be worked off when it came; `recovered_s` once that was done."""

    kind: str
    at_s: float
    waiting: Ends
    recovered_s: float | None = None


@dataclass
class Observer:
    """A thread of its own; broker outages are expected and waited out."""

    bootstrap: str
    partitions: int
    ends: Ends = field(default_factory=lambda: defaultdict(int))
    done: Ends = field(default_factory=lambda: defaultdict(int))
    felt: list[Felt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def feel(self, kind: str, *, sink: bool) -> None:
        """Note a fault: it is over once everything that the log holds now is processed, or inserted."""
        topics = OUTPUTS if sink else (SIGHTINGS.name,)
        with self._lock:
            waiting = {place: end for place, end in self.ends.items() if place[0] in topics}
            self.felt.append(Felt(kind, time.monotonic(), waiting))

    def _watch(self) -> None:
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "chaos-observer",  # never joins
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        topics = (SIGHTINGS.name, CHECKPOINTS.name, *OUTPUTS)
        reader.assign([TopicPartition(name, n, OFFSET_BEGINNING) for name in topics for n in range(self.partitions)])
        # Not an admin client: see footfall_cli.drained.
        member = Consumer({"bootstrap.servers": self.bootstrap, "group.id": SINK_GROUP, "log_level": 0})
        while not self._stop.is_set():
            messages = reader.consume(1000, 0.2)
            with self._lock:
                for message in messages:
                    topic, partition, offset = message.topic(), message.partition(), message.offset()
                    if message.error() is not None or topic is None or partition is None or offset is None:
                        continue
                    if topic != CHECKPOINTS.name:
                        self.ends[topic, partition] = offset + 1
                    elif message.key() == OFFSET_KEY:
                        next_offset = Progress.from_bytes(message.value() or b"").next_offset
                        self.done[SIGHTINGS.name, partition] = next_offset
            self._committed(member)
            self._judge()
        reader.close()
        member.close()

    def _committed(self, member: Consumer) -> None:
        places = [TopicPartition(name, number) for name in OUTPUTS for number in range(self.partitions)]
        try:
            found = member.committed(places, 2.0)
        except KafkaException:
            return
        with self._lock:
            for place in found:
                self.done[place.topic, place.partition] = place.offset

    def _judge(self) -> None:
        with self._lock:
            for fault in self.felt:
                left = any(self.done[place] < end for place, end in fault.waiting.items())
                if fault.recovered_s is None and not left:
                    fault.recovered_s = time.monotonic() - fault.at_s
