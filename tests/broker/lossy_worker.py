"""`footfall stream` with a client that loses or repeats one message on its way to the agent.

LOSSY=drop:40 drops the 40th message, LOSSY=repeat:40 hands it over twice.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from footfall_streams import command
from footfall_streams.agents import SightingsAgent


class Lossy:
    """A stream that hands messages over as Faust's does, but for one of them."""

    def __init__(self, stream: Any, fault: str) -> None:
        self._stream = stream
        kind, nth = fault.split(":")
        self._times = {"drop": 0, "repeat": 2}[kind]
        self._left = int(nth)

    async def events(self) -> AsyncIterator[Any]:
        async for event in self._stream.events():
            event.message.value = [record for record in event.message.value for _ in range(self._times_of_next())]
            yield event

    def _times_of_next(self) -> int:
        self._left -= 1
        return self._times if self._left == 0 else 1


def main(environ: dict[str, str]) -> int:
    run = SightingsAgent.run

    async def run_lossy(agent: SightingsAgent, stream: Any, chunk_messages: int, within_s: float) -> None:
        await run(agent, Lossy(stream, environ["FOOTFALL_LOSSY"]), chunk_messages, within_s)

    setattr(SightingsAgent, "run", run_lossy)  # noqa: B010  the fault is between Faust and the agent
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(), environ)


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))  # noqa: TID251  it stands in for the command, which reads the environment
