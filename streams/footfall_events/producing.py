"""How every producer of this project writes to Kafka, beside the way to the broker."""

from __future__ import annotations

from collections.abc import Mapping

PRODUCER: Mapping[str, str | int | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    # With more, a partition that a broker is just opening may refuse the first request and take the second: it knows
    # no sequence of this producer yet. The first, repeated, then passes for a duplicate: confirmed, and in no log.
    "max.in.flight.requests.per.connection": 1,
    "compression.type": "zstd",
    # The partitioner of the Java and aiokafka clients, so that all agree where a store lives.
    "partitioner": "murmur2_random",
}
