"""Asks the broker once, at start, whether it lets this process in, and names what keeps it out.

A client that is refused tries again for ever, as it must after having worked: then it is an outage. At start it is a
configuration that can never work. Needs confluent-kafka, which every stage has; the contract's other modules do not.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.transport import KafkaTransport

_WAIT_S = 10.0
_HANDSHAKE_S = 5.0
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = (62, 64)  # host name, IP address


def check_access(transport: KafkaTransport, wait_s: float = _WAIT_S) -> None:
    """Return once any broker answers.

    Raises ConfigError if one refuses us or we it, BrokerUnavailable if none answers: at once where nobody listens.
    """
    errors: list[KafkaError] = []
    try:
        client = Producer({**transport.client(), "error_cb": errors.append, "log_level": 0})
    except KafkaException as error:
        raise ConfigError([f"Kafka's client refuses its settings: {error.args[0].str()}"]) from error
    deadline = time.monotonic() + wait_s
    while True:
        try:
            client.list_topics(timeout=1)
            return
        except KafkaException:
            client.poll(0)
        problem = next(filter(None, (refusal(transport, error) for error in errors)), "")
        if problem:
            raise ConfigError([problem])
        if time.monotonic() > deadline or _nobody_listens(errors):
            raise BrokerUnavailable(_silence(transport, errors))


def refusal(transport: KafkaTransport, error: KafkaError) -> str:
    """What to change, for an error that waiting does not cure; empty for any other."""
    text = error.str()
    # "Local" is the client's own trouble: the broker went away before it had judged the login.
    if error.code() == KafkaError._AUTHENTICATION and "Local:" not in text:
        return (
            f"Kafka refuses user {transport.username!r}: {_plain(text)}: check FOOTFALL_KAFKA_USERNAME, "
            "FOOTFALL_KAFKA_PASSWORD or FOOTFALL_KAFKA_PASSWORD_FILE, and FOOTFALL_KAFKA_SASL_MECHANISM"
        )
    if error.code() == KafkaError._SSL and "certificate verify failed" in text:
        return certificate_problem(transport, _address(text))
    if re.search(r"alert.*(certificate|unknown ca)", text):
        # The alert of a handshake that TLS 1.3 lets end before the server has looked at our certificate.
        return f"Kafka refuses this client's certificate: {_plain(text)}: check FOOTFALL_KAFKA_CERT_FILE"
    return ""


def certificate_problem(transport: KafkaTransport, address: str) -> str:
    """Why the certificate at HOST:PORT is not believed, which librdkafka does not say; a handshake of our own does."""
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), _HANDSHAKE_S) as plain,
            transport.ssl_context().wrap_socket(plain, server_hostname=host.strip("[]")),
        ):
            cause, remedy = "librdkafka does not believe it", _remedy(0)
    except ssl.SSLCertVerificationError as error:
        cause, remedy = error.verify_message, _remedy(error.verify_code)
    except (OSError, ValueError) as error:
        cause, remedy = type(error).__name__, _remedy(0)
    return f"the certificate of Kafka at {address} is refused: {cause}: {remedy}"


def _remedy(verify_code: int) -> str:
    if verify_code in (_EXPIRED, _NOT_YET_VALID):
        return "renew the broker's certificate, or set this machine's clock"
    if verify_code in _OTHER_NAME:
        return "in FOOTFALL_BOOTSTRAP, name the broker as its certificate does"
    return "set FOOTFALL_KAFKA_CA_FILE to the certificate of the authority that signed it"


def _nobody_listens(errors: Sequence[KafkaError]) -> bool:
    """Nothing is there at all, so waiting here, where nobody hears of it, helps nobody."""
    causes = [error for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN]
    down = len(causes) < len(errors)
    return down and all("in state CONNECT)" in error.str() for error in causes) and bool(causes)


def _silence(transport: KafkaTransport, errors: Sequence[KafkaError]) -> str:
    causes = [error.str() for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN]
    cause = f": {_plain(causes[-1])}" if causes else ""
    return f"nobody at {transport.bootstrap} answers in {transport.protocol}{cause}"


def _plain(text: str) -> str:
    """The error without the name of librdkafka's thread and state."""
    return re.sub(r"^\w*(://)?[^/ ]*/\w+: | \(after [^)]*\)$|, \d+ identical error.*$", "", text)


def _address(text: str) -> str:
    """HOST:PORT out of `sasl_ssl://HOST:PORT/bootstrap: …`."""
    found = re.match(r"(?:\w+://)?([^/ ]+)/", text)
    return found.group(1) if found else ""
