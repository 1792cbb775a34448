"""A Wi-Fi interface in monitor mode: scapy opens the socket, the frames take the same way as a file's."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from threading import Event

import numpy as np
from footfall_events.errors import ConfigError
from scapy.arch.linux import L2ListenSocket
from scapy.automaton import select_objects
from scapy.error import Scapy_Exception

from footfall_collectors.dot11 import RADIOTAP, Block
from footfall_collectors.sources.radio_clock import RadioClock
from footfall_collectors.sources.unreadable import UnreadableCapture

SNAP_BYTES = 256
"""Enough for radiotap and the 802.11 header; payloads are never read further."""

_POLL_S = 0.25
_FRAMES_A_BLOCK = 1000
_KERNEL_BUFFER_BYTES = 8 * 1024 * 1024
_MONITOR_MODE = 803  # ARPHRD_IEEE80211_RADIOTAP
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6


def live_blocks(
    interface: str, expression: str, duration_s: float | None, stop: Event, clock: RadioClock | None = None
) -> Iterator[tuple[Block, int]]:
    """Blocks as frames arrive, an empty one after each quiet poll, each with the radio's clock at its end, ms.

    `expression` is a capture filter as pcap-filter(7) has it, "" for none. Listens from the call on. Ends when the
    duration is over or `stop` is set. Raises ConfigError, at once, for a clock that is not set and for an interface or
    a filter that cannot work; the blocks raise UnreadableCapture once the interface has gone or the clock was set.
    """
    clock = clock or RadioClock()
    return _blocks(_open(interface, expression), interface, duration_s, stop, clock)


def _blocks(
    source: L2ListenSocket, interface: str, duration_s: float | None, stop: Event, clock: RadioClock
) -> Iterator[tuple[Block, int]]:
    started = time.monotonic()
    try:
        while not stop.is_set() and (duration_s is None or time.monotonic() - started < duration_s):
            frames: list[bytes] = []
            times: list[int] = []
            ready = select_objects([source], _POLL_S)
            while ready and len(frames) < _FRAMES_A_BLOCK:
                _, data, stamp = source.recv_raw(SNAP_BYTES)
                frames.append(data)
                times.append(clock.stamp(int(float(stamp) * 1000)))
                ready = select_objects([source], 0)
            now_ms = clock.now_ms()
            if not frames:
                clock.stamp(now_ms)
            yield _block(frames, times, _dropped(source.ins)), clock.latest_ms
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


def _block(frames: list[bytes], times: list[int], dropped: int) -> Block:
    lengths = np.array([len(data) for data in frames], np.int64)
    data = np.frombuffer(b"".join(frames), np.uint8)
    return Block(data, np.cumsum(lengths) - lengths, lengths, np.array(times, np.int64), RADIOTAP, dropped)
