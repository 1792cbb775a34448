"""How Kafka and ClickHouse are reached: every contradiction named at once, and secrets that nothing prints."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from footfall_cli.main import main
from footfall_events.broker_access import check_access, refusal
from footfall_events.errors import BrokerUnavailable, ConfigError
from footfall_events.settings import SettingsReader
from footfall_events.transport import KafkaTransport
from footfall_sinks.address import ClickHouseAddress
from footfall_sinks.settings import SinkSettings
from footfall_streams.settings import StreamSettings

from tests.certificates import Authority

KAFKA = {"FOOTFALL_BOOTSTRAP": "kafka:9092"}
LOGIN = {**KAFKA, "FOOTFALL_KAFKA_USERNAME": "reader", "FOOTFALL_KAFKA_PASSWORD": "5ecret"}


def transport(values: dict[str, str]) -> KafkaTransport:
    read = SettingsReader(values)
    found = KafkaTransport.read(read)
    read.finish()
    return found


def problems(values: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        transport(values)
    return caught.value.problems


def secret_file(directory: Path, text: str, mode: int = 0o600) -> str:
    path = directory / "password"
    path.touch(mode=mode)
    path.write_text(text)
    return str(path)


def test_an_address_alone_is_a_plain_kafka() -> None:
    assert transport(KAFKA).client() == {"bootstrap.servers": "kafka:9092"}


def test_a_login_is_sent_with_the_strongest_mechanism_unless_told_otherwise() -> None:
    values = LOGIN | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    assert transport(values).client() == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "reader",
        "sasl.password": "5ecret",
    }
    other = transport(values | {"FOOTFALL_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"})
    assert other.client()["sasl.mechanism"] == "SCRAM-SHA-256"


def test_a_password_of_a_file_is_taken_without_its_line_end(tmp_path: Path) -> None:
    values = KAFKA | {
        "FOOTFALL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "FOOTFALL_KAFKA_USERNAME": "reader",
        "FOOTFALL_KAFKA_PASSWORD_FILE": secret_file(tmp_path, " with spaces \n"),
    }
    assert transport(values).password == " with spaces "


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_secret_that_everybody_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = Path(secret_file(tmp_path, "5ecret"))
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        SettingsReader({"F": str(path)}).secret("S", "F")
    assert ("chmod 600" in caplog.text) == warned
    assert "5ecret" not in caplog.text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({}, ["FOOTFALL_BOOTSTRAP is not set"], id="no address"),
        pytest.param(
            KAFKA | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "tls"},
            [
                "FOOTFALL_KAFKA_SECURITY_PROTOCOL is 'tls': must be one of plaintext, ssl, sasl_plaintext, sasl_ssl",
            ],
            id="a protocol that does not exist",
        ),
        pytest.param(
            LOGIN,
            [
                "FOOTFALL_KAFKA_USERNAME is set, but FOOTFALL_KAFKA_SECURITY_PROTOCOL is plaintext: give sasl_ssl",
                "FOOTFALL_KAFKA_PASSWORD is set, but FOOTFALL_KAFKA_SECURITY_PROTOCOL is plaintext: give sasl_ssl",
            ],
            id="a login that would not be used",
        ),
        pytest.param(
            KAFKA | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl"},
            [
                "FOOTFALL_KAFKA_SECURITY_PROTOCOL is sasl_ssl, and FOOTFALL_KAFKA_USERNAME is not set",
                "FOOTFALL_KAFKA_SECURITY_PROTOCOL is sasl_ssl, and neither FOOTFALL_KAFKA_PASSWORD nor "
                "FOOTFALL_KAFKA_PASSWORD_FILE is set",
            ],
            id="a protocol without its login",
        ),
        pytest.param(
            LOGIN | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "FOOTFALL_KAFKA_PASSWORD_FILE": "none"},
            [
                "FOOTFALL_KAFKA_PASSWORD_FILE is none: there is no such file",
                "FOOTFALL_KAFKA_PASSWORD and FOOTFALL_KAFKA_PASSWORD_FILE are both set: give one of them",
            ],
            id="two passwords, one of them nowhere",
        ),
        pytest.param(
            KAFKA | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "ssl", "FOOTFALL_KAFKA_CERT_FILE": __file__},
            ["FOOTFALL_KAFKA_CERT_FILE is set alone: FOOTFALL_KAFKA_CERT_FILE and FOOTFALL_KAFKA_KEY_FILE are a pair"],
            id="a certificate without its key",
        ),
        pytest.param(
            KAFKA | {"FOOTFALL_KAFKA_CA_FILE": __file__},
            ["FOOTFALL_KAFKA_CA_FILE is set, but FOOTFALL_KAFKA_SECURITY_PROTOCOL is plaintext: give ssl"],
            id="an authority that nobody would ask",
        ),
    ],
)
def test_every_contradiction_is_named_with_its_remedy(values: dict[str, str], said: list[str]) -> None:
    assert problems(values) == said


def test_files_that_hold_something_else_are_refused_before_any_socket_opens(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two = str(authority.issue("one", "a.test")), str(authority.issue("two", "b.test"))
    values = KAFKA | {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "ssl"}
    (problem,) = problems(values | {"FOOTFALL_KAFKA_CA_FILE": __file__})
    assert problem.startswith(f"FOOTFALL_KAFKA_CA_FILE is {__file__}: no certificates in PEM format")
    (problem,) = problems(values | {"FOOTFALL_KAFKA_CERT_FILE": one, "FOOTFALL_KAFKA_KEY_FILE": two})
    assert "are no pair" in problem
    pair = transport(values | {"FOOTFALL_KAFKA_CERT_FILE": one, "FOOTFALL_KAFKA_KEY_FILE": one})
    assert pair.ssl_context().verify_mode == ssl.CERT_REQUIRED
    assert pair.client()["ssl.certificate.location"] == one


def test_a_key_with_a_password_needs_it(tmp_path: Path) -> None:
    locked = str(Authority(tmp_path).issue("locked", "a.test", password="5ecret"))
    values = KAFKA | {
        "FOOTFALL_KAFKA_SECURITY_PROTOCOL": "ssl",
        "FOOTFALL_KAFKA_CERT_FILE": locked,
        "FOOTFALL_KAFKA_KEY_FILE": locked,
    }
    assert "FOOTFALL_KAFKA_KEY_PASSWORD is wrong" in problems(values)[0]
    opened = transport(values | {"FOOTFALL_KAFKA_KEY_PASSWORD": "5ecret"})
    assert opened.client()["ssl.key.password"] == "5ecret"


def test_nothing_that_is_printed_holds_a_secret() -> None:
    values = LOGIN | {
        "FOOTFALL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "FOOTFALL_CONFIG": "chain.toml",
        "FOOTFALL_CLICKHOUSE": "https://clickhouse",
        "FOOTFALL_CLICKHOUSE_USER": "writer",
        "FOOTFALL_CLICKHOUSE_PASSWORD": "5ecret",
    }
    for settings in (StreamSettings.from_mapping(values), SinkSettings.from_mapping(values)):
        assert settings.kafka()["sasl.password"] == "5ecret"
        for printed in (repr(settings), str(settings), f"{settings}", repr(settings.kafka()), f"{settings.kafka()}"):
            assert "reader" in printed
            assert "5ecret" not in printed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"FOOTFALL_CLICKHOUSE_USER": ""}, "FOOTFALL_CLICKHOUSE_USER is not", id="no user"),
        pytest.param({"FOOTFALL_CLICKHOUSE_CA_FILE": "none"}, "there is no such file", id="no such file"),
        pytest.param({"FOOTFALL_CLICKHOUSE_CA_FILE": __file__}, "no certificates", id="not a certificate"),
        pytest.param(
            {"FOOTFALL_CLICKHOUSE_CA_FILE": __file__, "FOOTFALL_CLICKHOUSE": "http://host"}, "not https", id="plain"
        ),
    ],
)
def test_what_contradicts_itself_about_clickhouse_is_named(changes: dict[str, str], said: str) -> None:
    good = {
        "FOOTFALL_CLICKHOUSE": "https://host",
        "FOOTFALL_CLICKHOUSE_USER": "writer",
        "FOOTFALL_CLICKHOUSE_PASSWORD": "5ecret",
    }
    read = SettingsReader({**good, **changes})
    ClickHouseAddress.read(read)
    (problem,) = read.problems
    assert said in problem


def test_a_password_in_an_option_is_refused_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "apply", "--clickhouse", "http://writer:5ecret@host"]) == 2
    said = capsys.readouterr().err
    assert "FOOTFALL_CLICKHOUSE_PASSWORD_FILE" in said
    assert "5ecret" not in said


def test_a_broker_that_went_away_in_the_middle_of_the_login_has_refused_nothing() -> None:
    away = KafkaError(KafkaError._AUTHENTICATION, "SaslAuthenticateRequest failed: Local: Broker transport failure")
    judged = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: Authentication failed")
    assert refusal(KafkaTransport("kafka:9092"), away) == ""
    assert "FOOTFALL_KAFKA_PASSWORD_FILE" in refusal(KafkaTransport("kafka:9092"), judged)


def test_where_nobody_listens_the_question_ends_at_once() -> None:
    with pytest.raises(BrokerUnavailable, match="Connection refused"):
        check_access(KafkaTransport("127.0.0.1:9"), wait_s=60)
