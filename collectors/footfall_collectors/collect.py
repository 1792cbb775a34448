"""Runs the sensors of one store: files merged by event time, a pipe, or an interface."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from footfall_events.stores import PrivacyPolicy, StoreConfig

from footfall_collectors.dot11 import Block
from footfall_collectors.pseudonyms import EpochKey, Pseudonyms
from footfall_collectors.session import Batching, Output, SensorSession
from footfall_collectors.sources.pcap import blocks, boot_id
from footfall_collectors.sources.unreadable import UnreadableCapture


class StoreRun:
    """The sensors of one store that run in this process, and what could not be read."""

    def __init__(self, store: StoreConfig, privacy: PrivacyPolicy, key: EpochKey, batching: Batching) -> None:
        self._store, self._privacy, self._key, self._batching = store, privacy, key, batching
        self.sessions: dict[str, SensorSession] = {}
        self.warnings: list[str] = []

    def session(self, sensor_id: str, boot: str) -> SensorSession:
        """Begin a sensor's run."""
        pseudonyms = Pseudonyms(self._key, self._privacy.scope, self._store.store_id)
        made = SensorSession(self._store, self._privacy, sensor_id, boot, pseudonyms, self._batching)
        self.sessions[sensor_id] = made
        return made

    def files(self, captures: dict[str, Path]) -> Iterator[Output]:
        """Everything the captures give, by event time, then the batch that closes the store."""
        ends: dict[str, int] = {}
        runs = [self._file(sensor_id, path, ends) for sensor_id, path in captures.items()]
        yield from heapq.merge(*runs, key=lambda output: output.at_ms)
        if ends:
            last = max(ends, key=lambda sensor_id: ends[sensor_id])
            yield self.sessions[last].final(max(ends.values()))

    def _file(self, sensor_id: str, path: Path, ends: dict[str, int]) -> Iterator[Output]:
        try:
            session = self.session(sensor_id, boot_id(path, repr(self._batching)))
            with path.open("rb") as file:
                yield from self._blocks(session, file, str(path), ends, sensor_id)
        except OSError as error:
            self.warnings.append(f"{path}: cannot be read: {error.strerror}")

    def stream(self, sensor_id: str, boot: str, file: BinaryIO) -> Iterator[Output]:
        """A capture that arrives on a pipe; its store stays open, as more may come."""
        yield from self._blocks(self.session(sensor_id, boot), file, "standard input", {}, sensor_id)

    def live(self, sensor_id: str, boot: str, radio: Iterator[tuple[Block, int]]) -> Iterator[Output]:
        """An interface's blocks, each with the radio's clock at its end: quiet time passes too."""
        session = self.session(sensor_id, boot)
        end_ms = 0
        try:
            for block, end_ms in radio:
                yield from session.advance(block, end_ms)
        except UnreadableCapture as warning:
            self.warnings.append(str(warning))
        if end_ms:
            yield from session.finish(end_ms)

    def _blocks(
        self, session: SensorSession, file: BinaryIO, name: str, ends: dict[str, int], sensor_id: str
    ) -> Iterator[Output]:
        end_ms = None
        try:
            for block in blocks(file, name):
                if len(block.ts_ms):
                    end_ms = int(block.ts_ms[-1])
                yield from session.advance(block)
        except UnreadableCapture as warning:
            self.warnings.append(str(warning))
        if end_ms is not None:
            ends[sensor_id] = end_ms
            yield from session.finish(end_ms)
