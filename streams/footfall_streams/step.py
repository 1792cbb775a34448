"""What one chunk of messages came to: rows to send, state to write, things counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from footfall_events.dead_letters import letter_headers, omitted_header
from footfall_events.topics import DEAD_LETTERS, SIGHTINGS

from footfall_streams.events import Message
from footfall_streams.state import State

_LARGEST_LETTER = 1_500_000  # bytes; more than the log takes uncompressed


@dataclass(frozen=True)
class Output:
    """One Kafka message to send within the step's transaction."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Step:
    """What a chunk came to, by partition, and what was counted on the way (`kind` or `kind/reason`)."""

    outputs: dict[int, list[Output]] = field(default_factory=lambda: defaultdict(list))
    state: dict[int, State] = field(default_factory=lambda: defaultdict(dict))
    counts: Counter[str] = field(default_factory=Counter)

    def dead_letter(self, message: Message, value: bytes, reason: str) -> None:
        """Send bytes of a message to the dead letters, with the place they come from.

        A value that only compression brought through the log stays there: the letter says how long it is.
        """
        headers = letter_headers(reason, SIGHTINGS.name, message.partition, message.offset)
        if len(value) > _LARGEST_LETTER:
            headers, value = [*headers, omitted_header(value)], b""
        self.outputs[message.partition].append(Output(DEAD_LETTERS.name, message.key, value, tuple(headers)))
        self.counts[f"dead_letters/{reason}"] += 1
