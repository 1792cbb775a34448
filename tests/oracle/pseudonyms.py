"""Pseudonyms of stable addresses, from a key file as a plain dict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from hashlib import blake2b

from tests.oracle.store_settings import Row

Pseudonym = Callable[[str, date], tuple[int, int] | None]
"""From an address and a business date to (device_id, key_epoch), or None if the epoch's key is destroyed."""


def pseudonyms(key_file: Row, store_id: str) -> Pseudonym:
    """The pseudonym function of one store; `key_file` has `scope`, `days`, `epoch` and `key` (hex)."""

    def pseudonym(mac: str, day: date) -> tuple[int, int] | None:
        epoch = (day - date(1970, 1, 1)).days // key_file["days"]
        if epoch < key_file["epoch"]:
            return None
        key = bytes.fromhex(key_file["key"])
        for _ in range(epoch - key_file["epoch"]):
            key = blake2b(b"footfall next epoch", digest_size=32, key=key).digest()
        if key_file["scope"] == "store":
            key = blake2b(b"store:" + store_id.encode(), digest_size=32, key=key).digest()
        digest = blake2b(bytes.fromhex(mac.replace(":", "")), digest_size=8, key=key).digest()
        return int.from_bytes(digest, "little"), epoch

    return pseudonym


def visit_id(store_id: str, device_id: int, key_epoch: int, first_seen_ms: int) -> int:
    """Name of a visit: a digest over its fields, each with its length in front."""
    digest = blake2b(digest_size=8)
    for field in (
        store_id.encode(),
        device_id.to_bytes(8, "little"),
        key_epoch.to_bytes(4, "little"),
        first_seen_ms.to_bytes(8, "little"),
    ):
        digest.update(len(field).to_bytes(2, "little"))
        digest.update(field)
    return int.from_bytes(digest.digest(), "little")
