"""The pipeline with its protocol broken on purpose: `python -m tests.chaos.broken FLAW stream|sink OPTION...`.

What the campaign must notice; see test_teeth.py.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Producer
from footfall_cli.main import main
from footfall_sinks import consume
from footfall_streams import agents, checkpoint, watermark
from footfall_streams.checkpoint import PartitionLog
from footfall_streams.events import Message
from footfall_streams.fetching import Fetched
from footfall_streams.state import State
from footfall_streams.step import Output


def outputs_outside_the_transaction() -> None:
    """Rows go through a producer of their own, as a framework's would, and the transaction does not wait for them."""
    commit = PartitionLog.commit
    beside: dict[int, Producer] = {}

    def broken(log: PartitionLog, outputs: Sequence[Output], state: State, next_offset: int) -> None:
        client = {**log._client, "partitioner": "murmur2_random", "linger.ms": 500}
        producer = beside.setdefault(log.partition, Producer(client))
        for output in outputs:
            producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
        commit(log, [], state, next_offset)

    _replace(PartitionLog, "commit", broken)


def state_without_its_offset() -> None:
    """The state is committed first, where it stands in the log afterwards."""
    commit = PartitionLog.commit

    def broken(log: PartitionLog, outputs: Sequence[Output], state: State, next_offset: int) -> None:
        stands = log.progress.next_offset
        commit(log, outputs, state, stands)
        commit(log, [], {}, next_offset)

    _replace(PartitionLog, "commit", broken)


def a_random_transactional_id() -> None:
    """Nobody fences anybody: a worker that was frozen goes on where it was."""

    class Unfenced(Producer):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__({**config, "transactional.id": secrets.token_hex(8)})

    _replace(checkpoint, "Producer", Unfenced)


def no_guard_and_messages_dropped() -> None:
    """One message in a hundred never arrives, and nobody looks."""

    async def broken(_: agents.SightingsAgent, chunk: Sequence[Fetched]) -> tuple[list[Message], dict[int, int]]:
        messages, ends = [], {}
        for fetched in chunk:
            for record in fetched.records:
                ends[fetched.partition] = record.offset + 1
                if record.offset % 100 != 99:
                    place = (fetched.partition, record.offset)
                    messages.append(Message(*place, record.key, record.value or b"", record.timestamp))
        return messages, ends

    _replace(agents.SightingsAgent, "_guard", broken)


def the_highest_sequence_only() -> None:
    """A batch that comes after its successor passes for a repetition."""

    def broken(boot: watermark.Boot, sequence: int) -> bool:
        is_new = sequence > max((end for _, end in boot.taken), default=-1)
        boot.taken[:] = [[0, sequence]] if is_new else boot.taken
        return is_new

    _replace(watermark.Boot, "take", broken)


def commit_before_insert() -> None:
    """The sink's offset moves on before its rows are stored."""
    insert = consume.Sink._insert

    def broken(sink: consume.Sink, block: Any) -> None:
        sink._source.commit({block.place: block.next_offset})
        insert(sink, block)

    _replace(consume.Sink, "_insert", broken)


FLAWS: dict[str, Callable[[], None]] = {
    flaw.__name__: flaw
    for flaw in (
        outputs_outside_the_transaction,
        state_without_its_offset,
        a_random_transactional_id,
        no_guard_and_messages_dropped,
        the_highest_sequence_only,
        commit_before_insert,
    )
}


def _replace(owner: object, name: str, broken: object) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, broken)


if __name__ == "__main__":
    FLAWS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
