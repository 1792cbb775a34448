"""Chunks of what a stream of fetches brings: how large they become, and how long a small one waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from footfall_streams.fetching import chunks


class Stream:
    """Fetches as Faust's stream hands them over, each after a while: (seconds, partition, offsets)."""

    def __init__(self, *fetches: tuple[float, int, Sequence[int]]) -> None:
        self._fetches = fetches

    async def events(self) -> AsyncIterator[Any]:
        for after_s, partition, offsets in self._fetches:
            await asyncio.sleep(after_s)
            yield SimpleNamespace(message=SimpleNamespace(partition=partition, generation_id=7, value=list(offsets)))


def gathered(stream: Stream, most: int, within_s: float) -> list[list[tuple[int, Sequence[Any]]]]:
    async def gather() -> list[list[tuple[int, Sequence[Any]]]]:
        return [[(part.partition, part.records) for part in chunk] async for chunk in chunks(stream, most, within_s)]

    return asyncio.run(gather())


def test_a_chunk_has_at_most_so_many_messages_and_no_message_is_lost_or_turned_round() -> None:
    stream = Stream((0, 0, range(3)), (0, 1, range(9)), (0, 0, range(3, 5)), (0, 2, range(2)), (0.3, 2, range(2, 4)))
    assert gathered(stream, 4, 0.1) == [
        [(0, [0, 1, 2]), (1, [0])],
        [(1, [1, 2, 3, 4])],
        [(1, [5, 6, 7, 8])],
        [(0, [3, 4]), (2, [0, 1])],
    ]


def test_a_small_chunk_waits_for_more_only_so_long() -> None:
    stream = Stream((0, 0, [0]), (0.02, 0, [1]), (0.4, 0, [2, 3]), (0.4, 0, [4]), (0.4, 0, [5]))
    assert gathered(stream, 3, 0.1) == [[(0, [0]), (0, [1])], [(0, [2, 3])], [(0, [4])]]


def test_nothing_is_handed_on_while_nothing_comes() -> None:
    assert gathered(Stream((0.3, 0, [0]), (0.3, 0, [1])), 10, 0.05) == [[(0, [0])]]
