"""The only place where an address becomes a device id: keyed BLAKE2b under the epoch's key.

Keys go one way: the next epoch's is derived from this one's, and nothing leads back. A sighting of an epoch
whose key is gone cannot be named any more; it is dropped and counted.
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from footfall_events.errors import ConfigError
from footfall_events.stores import PrivacyPolicy
from numpy.typing import NDArray

_KEY_BYTES = 32
_KEY = re.compile(rf"[0-9a-f]{{{2 * _KEY_BYTES}}}")


@dataclass(frozen=True)
class EpochKey:
    """The secret of one epoch; every later epoch's follows from it."""

    epoch: int
    secret: bytes

    def __repr__(self) -> str:
        return f"EpochKey(epoch={self.epoch})"

    def of_epoch(self, epoch: int) -> bytes | None:
        """Secret of a later epoch; None for an earlier one, whose key is destroyed."""
        if epoch < self.epoch:
            return None
        secret = self.secret
        for _ in range(epoch - self.epoch):
            secret = blake2b(b"footfall next epoch", digest_size=_KEY_BYTES, key=secret).digest()
        return secret


def init_key(path: Path, privacy: PrivacyPolicy, epoch: int) -> None:
    """Write a new random key, readable by its owner only. Raises ConfigError rather than touch an existing file."""
    lines = [
        "# Footfall's pseudonym key. Whoever has it can name devices: keep it apart from the data.",
        f'policy = "{privacy.policy}"',
        f'scope = "{privacy.scope}"',
        f"days = {privacy.days}",
        f"epoch = {epoch}",
        f'key = "{secrets.token_hex(_KEY_BYTES)}"',
    ]
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError([f"{path}: exists already, and a key is never overwritten: remove it yourself"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def load_key(path: Path, privacy: PrivacyPolicy) -> EpochKey:
    """Read a key file; raises ConfigError if it is missing, open to others, or made for another policy."""
    try:
        mode = path.stat().st_mode
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}: make a key with `footfall keys init`"]) from error
    except (ValueError, RecursionError):  # no text, no TOML, a number or a nesting beyond Python's limits
        raise ConfigError([f"{path}: not a key file: make one with `footfall keys init`"]) from None
    problems = []
    if mode & 0o077:
        problems.append(f"{path}: others can read it: chmod 600")
    for name in ("policy", "scope", "days"):
        made_for, configured = document.get(name), getattr(privacy, name)
        if type(made_for) is not type(configured) or made_for != configured:  # true is no number of days
            problems.append(f"{path}: made for {name} {made_for!r}, configured is {configured!r}")
    key, epoch = str(document.get("key")), document.get("epoch")
    if type(epoch) is not int or not 0 <= epoch < 2**32 or not _KEY.fullmatch(key):
        problems.append(f"{path}: epoch or key is missing or damaged")
    if problems:
        raise ConfigError(problems)
    return EpochKey(int(document["epoch"]), bytes.fromhex(key))


class _ThrowawayKey(EpochKey):
    """Derives each epoch's secret from the first one's at once: no epoch of it outlives the process, so that a way from
    epoch to epoch, tens of thousands of days long, protects nothing."""

    def of_epoch(self, epoch: int) -> bytes | None:
        if epoch < self.epoch:
            return None
        return blake2b(epoch.to_bytes(8, "big"), digest_size=_KEY_BYTES, key=self.secret).digest()


def throwaway_key(epoch: int) -> EpochKey:
    """A random key from that epoch on, which is written nowhere and gone with the process."""
    return _ThrowawayKey(epoch, secrets.token_bytes(_KEY_BYTES))


class Pseudonyms:
    """Device ids of one store's stable addresses. Remembers the ids of the epoch at hand only."""

    def __init__(self, key: EpochKey, scope: str, store_id: str) -> None:
        self._key = key
        self._person = b"store:" + store_id.encode() if scope == "store" else None
        self._epoch = -1
        self._secret: bytes | None = None
        self._ids: dict[int, int] = {}

    def device_ids(self, epoch: int, macs: NDArray[np.uint64]) -> NDArray[np.uint64] | None:
        """Ids of the addresses in that epoch; None if its key is destroyed."""
        if epoch != self._epoch:
            self._ids, self._epoch, self._secret = {}, epoch, self._secret_of(epoch)
        if self._secret is None:
            return None
        ids = [self._ids.get(mac) or self._name(mac, self._secret) for mac in macs.tolist()]
        return np.array(ids, np.uint64)

    def _secret_of(self, epoch: int) -> bytes | None:
        secret = self._key.of_epoch(epoch)
        if secret is not None and self._person is not None:
            secret = blake2b(self._person, digest_size=_KEY_BYTES, key=secret).digest()
        return secret

    def _name(self, mac: int, secret: bytes) -> int:
        digest = blake2b(mac.to_bytes(6, "big"), digest_size=8, key=secret).digest()
        self._ids[mac] = int.from_bytes(digest, "little")
        return self._ids[mac]
