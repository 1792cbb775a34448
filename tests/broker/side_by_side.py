"""Runs the cases of a module side by side on a few brokers, as they mostly wait for session timeouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.topics import apply_topics

Case = Callable[[EmbeddedKafka, Path], None]
"""Takes a broker that it has to itself, others' messages on it, and a directory of its own."""


@contextmanager
def side_by_side(
    cases: Mapping[str, Case], directory: Path, brokers: int, partitions: int
) -> Iterator[dict[str, Future[None]]]:
    """The outcome of every case, by name."""
    free: SimpleQueue[EmbeddedKafka] = SimpleQueue()

    def take(name: str, case: Case) -> None:
        kafka = free.get()
        try:
            case(kafka, directory)
        finally:
            free.put(kafka)

    with ExitStack() as stack:
        for number in range(min(brokers, len(cases))):
            kafka = EmbeddedKafka(directory / f"broker-{number}")
            stack.callback(kafka.kill)
            kafka.start()
            apply_topics(kafka.bootstrap, partitions)
            free.put(kafka)
        threads = stack.enter_context(ThreadPoolExecutor(brokers))
        yield {name: threads.submit(take, name, case) for name, case in cases.items()}


def chosen(request: pytest.FixtureRequest, argument: str) -> list[str]:
    """Values of an argument in the tests of the module that this run has chosen."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    here = [item for item in items if item.path == request.path and hasattr(item, "callspec")]
    return [str(item.callspec.params[argument]) for item in here if argument in item.callspec.params]
