"""How every process reaches Kafka: address, TLS, user and password, from the same variables.

Plain by default. A password comes from the environment or from a file, never from an option: options are in `ps`.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from footfall_events.settings import NO_SECRET, Secret, SettingsReader, warn_if_open

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("scram-sha-512", "scram-sha-256", "plain")

_PROTOCOL = "FOOTFALL_KAFKA_SECURITY_PROTOCOL"
_OF_TLS = ("FOOTFALL_KAFKA_CA_FILE", "FOOTFALL_KAFKA_CERT_FILE", "FOOTFALL_KAFKA_KEY_FILE")
_OF_LOGIN = (
    "FOOTFALL_KAFKA_USERNAME",
    "FOOTFALL_KAFKA_PASSWORD",
    "FOOTFALL_KAFKA_PASSWORD_FILE",
    "FOOTFALL_KAFKA_SASL_MECHANISM",
)


@dataclass(frozen=True)
class KafkaTransport:
    """Kafka's address and what it takes to be let in. Files exist and fit each other; a login is whole or absent."""

    bootstrap: str
    protocol: str = "plaintext"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret = NO_SECRET
    mechanism: str = MECHANISMS[0]
    username: str = ""
    password: Secret = NO_SECRET

    @classmethod
    def read(cls, read: SettingsReader) -> KafkaTransport:
        """Read FOOTFALL_BOOTSTRAP and FOOTFALL_KAFKA_*; what is wrong is in the reader's problems."""
        found = cls(
            bootstrap=read.text("FOOTFALL_BOOTSTRAP"),
            protocol=read.choice(_PROTOCOL, cls.protocol, PROTOCOLS),
            ca_file=read.file("FOOTFALL_KAFKA_CA_FILE"),
            cert_file=read.file("FOOTFALL_KAFKA_CERT_FILE"),
            key_file=read.file("FOOTFALL_KAFKA_KEY_FILE"),
            key_password=read.secret("FOOTFALL_KAFKA_KEY_PASSWORD", "FOOTFALL_KAFKA_KEY_PASSWORD_FILE"),
            mechanism=read.choice("FOOTFALL_KAFKA_SASL_MECHANISM", cls.mechanism, MECHANISMS),
            username=read.text("FOOTFALL_KAFKA_USERNAME", ""),
            password=read.secret("FOOTFALL_KAFKA_PASSWORD", "FOOTFALL_KAFKA_PASSWORD_FILE"),
        )
        read.problems += found._contradictions(read)
        return found

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("ssl")

    @property
    def login(self) -> bool:
        return self.protocol.startswith("sasl")

    def client(self) -> dict[str, str]:
        """Configuration for confluent-kafka; it may be printed, its passwords hide themselves."""
        config = {"bootstrap.servers": self.bootstrap}
        if self.protocol != "plaintext":
            config["security.protocol"] = self.protocol
        files = {
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.cert_file,
            "ssl.key.location": self.key_file,
        }
        config |= {name: str(path) for name, path in files.items() if path}
        if self.key_password:
            config["ssl.key.password"] = self.key_password
        if self.login:
            config |= {"sasl.mechanism": self.mechanism.upper(), "sasl.username": self.username}
            config["sasl.password"] = self.password
        return config

    def ssl_context(self) -> ssl.SSLContext:
        """The same trust and the same certificate for a client of Python's own TLS; raises OSError."""
        context = ssl.create_default_context(cafile=self.ca_file)
        # Newer Pythons refuse certificates that librdkafka, in the same process, takes.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.cert_file:
            # As a function: without any password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, lambda: str(self.key_password))
        return context

    def _contradictions(self, read: SettingsReader) -> list[str]:
        problems = []
        if not self.tls:
            problems += _set_in_vain(read, _OF_TLS, self.protocol, "sasl_ssl" if self.login else "ssl")
        if not self.login:
            problems += _set_in_vain(read, _OF_LOGIN, self.protocol, "sasl_ssl")
        elif not self.username:
            problems.append(f"{_PROTOCOL} is {self.protocol}, and FOOTFALL_KAFKA_USERNAME is not set")
        if self.login and not self.password and not any("FOOTFALL_KAFKA_PASSWORD" in each for each in read.problems):
            problems.append(f"{_PROTOCOL} is {self.protocol}, and neither {_OF_LOGIN[1]} nor {_OF_LOGIN[2]} is set")
        given = [name for name in _OF_TLS[1:] if read.given(name)]
        if len(given) == 1:
            problems.append(f"{given[0]} is set alone: FOOTFALL_KAFKA_CERT_FILE and FOOTFALL_KAFKA_KEY_FILE are a pair")
        if self.tls and not problems and not read.problems:
            problems += self._unfit_files()
        return problems

    def _unfit_files(self) -> list[str]:
        if self.key_file:
            warn_if_open(self.key_file)
        try:
            ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            return [f"FOOTFALL_KAFKA_CA_FILE is {self.ca_file}: no certificates in PEM format ({_reason(error)})"]
        try:
            self.ssl_context()
        except OSError as error:
            pair = "FOOTFALL_KAFKA_CERT_FILE and FOOTFALL_KAFKA_KEY_FILE"
            return [f"{pair} are no pair in PEM format, or FOOTFALL_KAFKA_KEY_PASSWORD is wrong ({_reason(error)})"]
        return []


def _set_in_vain(read: SettingsReader, names: Collection[str], protocol: str, instead: str) -> list[str]:
    given = [name for name in names if read.given(name)]
    return [f"{name} is set, but {_PROTOCOL} is {protocol}: give {instead}" for name in given]


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
