"""Sends dead letters' bytes back to the topics they came from, and notes each one that the broker has.

1. Send   The bytes as they came, under the key they had; the partition is the key's, as every client finds it.
2. Wait   Only a delivery report says that the broker has it.
3. Note   Beside the letter, where its bytes are now. Behind 2: a note that came first could hide a letter that nobody
          took. A crash in between leaves a letter that is sent again, and sending twice changes nothing:
          - sightings.v1: the worker keeps each boot's batch sequences and drops a batch that it has taken; once they
            are forgotten the batch is behind the horizon and touches no table;
          - visits.v1, store_minutes.v1: a row carries its version, and of equal keys the newest counts;
          - sensor_minutes.v1: a row is sent once and never revised, so every copy of it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from footfall_events.dead_letters import REPLAYED, place_headers
from footfall_events.errors import FootfallError
from footfall_events.producing import PRODUCER
from footfall_events.topics import DEAD_LETTERS

from footfall_cli.deadletters import Letter
from footfall_cli.topics import Kafka, client_of

AT_ONCE = 200
_DELIVERY_S = 30.0

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class _Parcel:
    """What is sent for a letter; without a partition the key decides."""

    letter: Letter
    topic: str
    value: bytes | None
    headers: Headers
    partition: int = -1


class Postman:
    """Sends letters back and notes it; `done` counts the notes that the broker has."""

    def __init__(self, kafka: Kafka) -> None:
        self.done = 0
        self._failures: list[str] = []
        self._producer = Producer(
            {
                **client_of(kafka),
                **PRODUCER,
                "delivery.timeout.ms": int(_DELIVERY_S * 1000),
                # The topic's limit is the broker's to apply, to what is left after compression.
                "message.max.bytes": 9 * 1024 * 1024,
            }
        )

    def send(self, letters: Iterable[tuple[Letter, bytes]]) -> None:
        """Put back at most AT_ONCE letters, in the order given.

        Raises FootfallError if any could not be sent or noted; those that the broker has are noted all the same.
        """
        sent = self._deliver([_Parcel(letter, letter.topic, value, []) for letter, value in letters])
        noted = self._deliver([_note(parcel.letter, message) for parcel, message in sent])
        self.done += len(noted)
        if self._failures:
            raise FootfallError(f"{self.done} letters went back, then the broker refused {self._failures[0]}")

    def _deliver(self, parcels: Sequence[_Parcel]) -> list[tuple[_Parcel, KafkaMessage]]:
        """Those that the broker has, with the place where it has them."""
        delivered = []
        for parcel in parcels:

            def report(error: KafkaError | None, message: KafkaMessage, parcel: _Parcel = parcel) -> None:
                if error is None:
                    delivered.append((parcel, message))
                else:
                    self._fail(parcel, error)

            try:
                self._producer.produce(
                    parcel.topic,
                    parcel.value,
                    parcel.letter.key,
                    partition=parcel.partition,
                    headers=parcel.headers,
                    on_delivery=report,
                )
            except KafkaException as error:
                self._fail(parcel, error.args[0])
        # Every message has its report by then, if only that its time is over.
        self._producer.flush(2 * _DELIVERY_S)
        return delivered

    def _fail(self, parcel: _Parcel, error: KafkaError) -> None:
        self._failures.append(f"{parcel.letter.place} for {parcel.topic}: {error.name()}")


def _note(letter: Letter, message: KafkaMessage) -> _Parcel:
    """A note lies behind its letter in the letter's own partition, so it is kept for at least as long."""
    headers: Headers = [
        (REPLAYED, letter.place.encode()),
        *place_headers(letter.topic, message.partition(), message.offset()),
    ]
    return _Parcel(letter, DEAD_LETTERS.name, None, headers, letter.partition)
