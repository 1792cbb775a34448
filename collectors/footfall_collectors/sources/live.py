"""A Wi-Fi interface in monitor mode: scapy opens the socket, the frames take the same way as a file's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import numpy as np
from footfall_events.errors import ConfigError

from footfall_collectors.dot11 import RADIOTAP, Block

SNAP_BYTES = 256
"""Enough for radiotap and the 802.11 header; payloads are never read further."""

_POLL_S = 0.25


def live_blocks(interface: str, duration_s: float | None, stop: Event) -> Iterator[Block]:
    """Blocks as frames arrive, an empty one after each quiet poll, until the duration is over or `stop` is set."""
    from scapy.arch.linux import L2ListenSocket
    from scapy.automaton import select_objects

    try:
        socket = L2ListenSocket(iface=interface)
    except (OSError, ValueError) as error:
        raise ConfigError([f"interface {interface}: {error}: is it up, in monitor mode, and are you root?"]) from error
    started = time.monotonic()
    latest = 0
    try:
        while not stop.is_set() and (duration_s is None or time.monotonic() - started < duration_s):
            frames: list[bytes] = []
            times: list[int] = []
            ready = select_objects([socket], _POLL_S)
            while ready and len(frames) < 1000:
                kind, data, stamp = socket.recv_raw(SNAP_BYTES)
                if data is not None and kind is not None:
                    latest = max(latest, int(float(stamp or 0) * 1000) or _radio_clock_ms())
                    frames.append(data)
                    times.append(latest)
                ready = select_objects([socket], 0)
            yield _block(frames, times)
    finally:
        socket.close()


def _radio_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def now_ms() -> int:
    """The radio's clock on this machine, epoch ms."""
    return _radio_clock_ms()


def _block(frames: list[bytes], times: list[int]) -> Block:
    lengths = np.array([len(data) for data in frames], np.int64)
    data = np.frombuffer(b"".join(frames), np.uint8)
    return Block(data, np.cumsum(lengths) - lengths, lengths, np.array(times, np.int64), RADIOTAP)
