"""A network interface that behaves like a radio in monitor mode: frames written here are heard on it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from types import TracebackType

_TUNSETIFF, _TUNSETLINK, _IFF_TUN = 0x400454CA, 0x400454CD, 0x0001
_RADIOTAP_LINK = 803  # ARPHRD_IEEE80211_RADIOTAP
_PACKET_INFO = struct.pack(">HH", 0, 0x0019)


class VirtualRadio:
    """A TUN device of radiotap link type, up while the block lasts. Needs /dev/net/tun and CAP_NET_ADMIN."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._device = os.open("/dev/net/tun", os.O_RDWR)

    def __enter__(self) -> VirtualRadio:
        fcntl.ioctl(self._device, _TUNSETIFF, struct.pack("16sH", self.name.encode(), _IFF_TUN))
        fcntl.ioctl(self._device, _TUNSETLINK, _RADIOTAP_LINK)
        # Without an address of its own the kernel sends nothing on it by itself.
        for command in (["addrgenmode", "none"], ["up"]):
            subprocess.run(["ip", "link", "set", "dev", self.name, *command], check=True, stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._device)

    def down(self) -> None:
        """The interface goes down, as when its driver is taken away."""
        subprocess.run(["ip", "link", "set", "dev", self.name, "down"], check=True, stdin=subprocess.DEVNULL)

    def transmit(self, frame: bytes) -> None:
        """One radiotap frame on the air."""
        os.write(self._device, _PACKET_INFO + frame)
