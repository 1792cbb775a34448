"""Dead letters as data: their headers, every reason, and what has to happen before a replay puts one through.

A letter holds the bytes as they came; `footfall deadletters replay` sends them back to the topic they came from and
notes that in `deadletters.v1` by a message without a value, whose header `replayed` names the letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

REASON, TOPIC, PARTITION, OFFSET = "reason", "topic", "partition", "offset"
"""Headers of every letter: why, and the place that its bytes came from."""
OMITTED_BYTES = "omitted_bytes"
"""Header of a letter whose bytes were too large for it: how many stayed in the topic they came from."""
REPLAYED = "replayed"
"""Header of a note, never of a letter: `PARTITION:OFFSET` in `deadletters.v1` of the letter that was sent back.
The note's other headers name the place where its bytes are now."""


def place_headers(topic: str, partition: int | None, offset: int | None) -> list[tuple[str, bytes]]:
    """The headers that name a message's place in a log."""
    return [(TOPIC, topic.encode()), (PARTITION, str(partition).encode()), (OFFSET, str(offset).encode())]


def letter_headers(reason: str, topic: str, partition: int, offset: int) -> list[tuple[str, bytes]]:
    """The headers of every letter."""
    return [(REASON, reason.encode()), *place_headers(topic, partition, offset)]


def omitted_header(value: bytes) -> tuple[str, bytes]:
    """The header of a letter that goes without these bytes."""
    return OMITTED_BYTES, str(len(value)).encode()


class Cure(Enum):
    """What has to happen before a replay puts a letter through; the values are for people."""

    NOW = "at once"
    CONFIGURATION = "once the workers run with a completed configuration"
    TIME = "once the broker's clock has passed the batch's"
    RELEASE = "once a release runs that takes it"
    REPAIR = "once ClickHouse's tables are repaired"
    NEVER = "never"


@dataclass(frozen=True)
class Reason:
    """One reason: what is wrong with the message, and what helps.

    A `deliberate` one can do harm if it is replayed too early: somebody has to name it.
    """

    name: str
    wrong: str
    remedy: str
    cure: Cure
    deliberate: bool = False


_UPGRADE = "the sender and this release disagree: upgrade the older of them"
_MALFORMED = (
    ("not_arrow", "the bytes are not an Arrow stream"),
    ("wrong_schema", "its columns are not the topic's"),
    ("not_one_batch", "the stream does not hold exactly one record batch"),
    ("invalid_batch", "the batch is cut off or contradicts itself"),
    ("compressed", "Arrow compressed the batch, which Kafka is to do"),
    ("oversized", "the value is longer than any batch may be"),
    ("bad_header", "the batch does not say, or not rightly, where it comes from"),
    ("bad_value", "a row holds a value that no reader of the tables could show"),
)

REASONS: dict[str, Reason] = {
    reason.name: reason
    for reason in (
        *(Reason(name, wrong, _UPGRADE, Cure.RELEASE) for name, wrong in _MALFORMED),
        Reason(
            "quarantined",
            "it stopped the workers, and `footfall deadletters quarantine` set it aside unread",
            "install the release with the fix first: under the old one it stops the workers again",
            Cure.RELEASE,
            deliberate=True,
        ),
        Reason(
            "unknown_store",
            "the configuration has no such store",
            "add the store to the configuration and start the workers again",
            Cure.CONFIGURATION,
        ),
        Reason(
            "unknown_sensor",
            "the store's configuration has no such sensor",
            "add it to the store's sensors and start the workers again",
            Cure.CONFIGURATION,
        ),
        Reason(
            "wrong_partition",
            "its sender does not place keys as the other clients do",
            "have the sender use the partitioner murmur2_random; a replay places the batch rightly",
            Cure.NOW,
        ),
        Reason(
            "wrong_key",
            "its key is not its store",
            "whoever sent it is no collector of this chain: find the sender",
            Cure.NEVER,
        ),
        Reason(
            "clock_ahead",
            "its sensor's clock was more than max_clock_lead_s ahead of the broker's",
            "if the broker's clock was behind, set it; if it was the sensor's that was ahead, a replay would put its "
            "people into the wrong hours",
            Cure.TIME,
            deliberate=True,
        ),
        Reason(
            "clock_not_set",
            "its sensor's clock was never set",
            "nobody knows when this was heard: set the sensor's clock",
            Cure.NEVER,
        ),
        Reason(
            "rows_ahead_of_clock",
            "a row starts after its batch's clock, or before the year 2000",
            "the sensor's clock jumped, so nobody knows when this was heard",
            Cure.NEVER,
        ),
        Reason(
            "span_too_long",
            "a row lasts longer than a burst can",
            "the sender does not keep to the contract: find and upgrade it",
            Cure.NEVER,
        ),
        Reason(
            "unstable_address",
            "a row is of an address that must never leave its sensor",
            "no collector of this chain sends such a row: find and stop the sender",
            Cure.NEVER,
        ),
        Reason(
            "beyond_horizon",
            "these rows came too late to revise anything",
            "what they would revise is forgotten, and a longer revision_horizon_s does not bring it back; it helps the "
            "next outage",
            Cure.NEVER,
        ),
        Reason(
            "store_rejected",
            "ClickHouse refuses the rows",
            "run `footfall schema apply` with the sink's release and look at ClickHouse's log",
            Cure.REPAIR,
        ),
        Reason(
            "unpacks_to_too_much",
            "its compressed bytes are more than any client takes",
            "whoever sent it is no part of this chain: find the sender",
            Cure.NEVER,
        ),
    )
}
