"""A Wi-Fi interface in monitor mode: scapy opens the socket, the frames take the same way as a file's."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event

import numpy as np
from footfall_events.errors import ConfigError
from scapy.arch.linux import L2ListenSocket
from scapy.automaton import select_objects
from scapy.error import Scapy_Exception

from footfall_collectors.dot11 import RADIOTAP, Block
from footfall_collectors.sources.unreadable import UnreadableCapture

SNAP_BYTES = 256
"""Enough for radiotap and the 802.11 header; payloads are never read further."""

RELEASED = datetime(2026, 11, 24, tzinfo=UTC)
"""No sensor can have heard anything before this release was made: an earlier clock is not set yet."""

_POLL_S = 0.25
_FRAMES_A_BLOCK = 1000
_KERNEL_BUFFER_BYTES = 8 * 1024 * 1024
_MONITOR_MODE = 803  # ARPHRD_IEEE80211_RADIOTAP
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6


def live_blocks(interface: str, expression: str, duration_s: float | None, stop: Event) -> Iterator[tuple[Block, int]]:
    """Blocks as frames arrive, an empty one after each quiet poll, each with the radio's clock at its end, ms.

    `expression` is a capture filter as pcap-filter(7) has it, "" for none. Ends when the duration is over or `stop`
    is set. Raises ConfigError for an interface or a filter that cannot work; UnreadableCapture
    if the clock is not set, or once the interface has gone.
    """
    if _clock_ms() < RELEASED.timestamp() * 1000:
        raise UnreadableCapture(
            f"the clock says {datetime.now(UTC):%Y-%m-%d}, before this release was made: set it first"
        )
    source = _open(interface, expression)
    started = time.monotonic()
    latest_ms = 0
    try:
        while not stop.is_set() and (duration_s is None or time.monotonic() - started < duration_s):
            frames: list[bytes] = []
            times: list[int] = []
            ready = select_objects([source], _POLL_S)
            while ready and len(frames) < _FRAMES_A_BLOCK:
                _, data, stamp = source.recv_raw(SNAP_BYTES)
                # The clock never goes back: also a frame that the kernel stamped while a quiet poll ended.
                latest_ms = max(latest_ms, int(float(stamp) * 1000))
                frames.append(data)
                times.append(latest_ms)
                ready = select_objects([source], 0)
            if not frames:
                latest_ms = max(latest_ms, _clock_ms())
            yield _block(frames, times, _dropped(source.ins)), latest_ms
    except OSError as error:
        raise UnreadableCapture(f"interface {interface}: {error.strerror}") from error
    finally:
        source.close()


def _open(interface: str, expression: str) -> L2ListenSocket:
    try:
        source = L2ListenSocket(iface=interface, filter=expression or None)
    except (OSError, ValueError) as error:
        raise ConfigError([f"interface {interface}: {error}: is it up, and are you root?"]) from error
    except Scapy_Exception as error:
        raise ConfigError([f"filter {expression!r}: {error}: see pcap-filter(7); it needs libpcap"]) from error
    if source.ins.getsockname()[3] != _MONITOR_MODE:
        source.close()
        raise ConfigError([f"interface {interface} gives no radiotap frames: put it into monitor mode"])
    try:
        source.ins.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _KERNEL_BUFFER_BYTES)
    except PermissionError:  # without CAP_NET_ADMIN the system's limit holds
        source.ins.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
    return source


def _dropped(source: socket.socket) -> int:
    """Frames that found no room in the kernel's buffer since the last call; see packet(7)."""
    dropped: int = struct.unpack("II", source.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
    return dropped


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _block(frames: list[bytes], times: list[int], dropped: int) -> Block:
    lengths = np.array([len(data) for data in frames], np.int64)
    data = np.frombuffer(b"".join(frames), np.uint8)
    return Block(data, np.cumsum(lengths) - lengths, lengths, np.array(times, np.int64), RADIOTAP, dropped)
