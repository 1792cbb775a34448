"""On which partition a key lies: the partitioner of the Java and aiokafka clients, and of librdkafka's murmur2."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that every client of ours sends a key to."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
