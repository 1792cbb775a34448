"""Certificates that a test makes for itself and throws away, as PEM files that Kafka, librdkafka and Python read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass
class Authority:
    """An authority and where its files are."""

    directory: Path
    name: str = "authority"
    _authority: trustme.CA = field(default_factory=trustme.CA)

    @property
    def certificate(self) -> Path:
        path = self.directory / f"{self.name}.pem"
        self._authority.cert_pem.write_to_path(str(path))
        return path

    def issue(self, name: str, *hosts: str, expired: bool = False, password: str = "") -> Path:
        """One PEM file with a key and the certificate for these hosts; one that has expired did so yesterday."""
        now = datetime.now(UTC)
        begin, end = (now - timedelta(9), now - timedelta(1)) if expired else (now - timedelta(1), now + timedelta(9))
        issued = self._authority.issue_cert(*hosts, not_before=begin, not_after=end)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        # Kafka reads keys in this one format only.
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        path = self.directory / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem + b"".join(part.bytes() for part in issued.cert_chain_pems))
        return path
