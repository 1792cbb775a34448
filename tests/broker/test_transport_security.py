"""TLS, user and password on the way to Kafka and ClickHouse: what goes through, what is refused, and in what words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its stubs
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from footfall_cli.children import Child, free_port, wait_for_line
from footfall_cli.drained import read_all, sink_lag, stream_lag, wait_until_zero
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_cli.kafka_node import Door
from footfall_cli.main import footfall, main
from footfall_cli.stack import Stack
from footfall_cli.topics import apply_topics
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.spool import Bounds, Spool
from footfall_events.broker_access import check_access
from footfall_events.errors import ConfigError, StoreUnavailable
from footfall_events.settings import SettingsReader
from footfall_events.topics import SIGHTINGS
from footfall_events.transport import KafkaTransport
from footfall_sinks.address import ClickHouseAddress
from footfall_sinks.clickhouse import ClickHouseStore, open_client
from prometheus_client import CollectorRegistry

from tests.broker.locked_clickhouse import USER as WRITER
from tests.certificates import Authority
from tests.unit.collector_runs import pcap, probe

pytestmark = pytest.mark.broker

USER = "footfall"
KAFKA_PASSWORD = "kafka: 5ecret, and = more"
CLICKHOUSE_PASSWORD = "clickhouse: 5ecret & more"
CONFIG = """
[[stores]]
id = "s"
sensors = ["a"]
"""
DEVICES = 7
FRAMES = [(1_700_000_000_000 + n * 1500, probe(f"00:1b:2f:00:00:{n % DEVICES:02x}", -60)) for n in range(100)]
DAY_MS = 86_400_000
HOST = "127.0.0.1"

STAGES = {
    "collect": ("collect", "--store", "s", "--throwaway-key", "--pcap"),
    "stream": ("stream",),
    "sink": ("sink",),
    "schema": ("schema", "apply"),
    "topics": ("topics", "apply", "--partitions", "2"),
}


@dataclass
class Place:
    """A broker behind several doors, and what a client needs to come in."""

    directory: Path
    kafka: EmbeddedKafka
    doors: Mapping[str, Door]
    authority: Authority

    def at(self, door: str) -> str:
        return f"{HOST}:{self.doors[door].port}"

    def environ(self, door: str = "GOOD", **changes: str) -> dict[str, str]:
        """Variables of a stage that comes in by one of the doors; the test's own, but for FOOTFALL_*."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}  # noqa: TID251
        return {
            **inherited,
            "FOOTFALL_CONFIG": str(self.written("chain.toml", CONFIG)),
            "FOOTFALL_BOOTSTRAP": self.at(door),
            "FOOTFALL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "FOOTFALL_KAFKA_CA_FILE": str(self.authority.certificate),
            "FOOTFALL_KAFKA_USERNAME": USER,
            "FOOTFALL_KAFKA_PASSWORD_FILE": str(self.written("kafka.password", KAFKA_PASSWORD + "\n")),
            "FOOTFALL_METRICS_PORT": "0",
            "FOOTFALL_SESSION_TIMEOUT_S": "6",
            **changes,
        }

    def written(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def child(self, name: str, environ: Mapping[str, str], days_later: int = 0) -> Child:
        """Start a stage or a tool; the collector gets a capture of some minutes."""
        log = self.directory / f"{name}-{len(list(self.directory.glob('*.log')))}.log"
        arguments = list(STAGES[name])
        if name == "collect":
            capture = self.directory / f"day-{days_later}.pcap"
            capture.write_bytes(pcap([(at_ms + days_later * DAY_MS, frame) for at_ms, frame in FRAMES]))
            arguments.append(f"a={capture}")
        child = Child(name, footfall(*arguments), log, environ)
        child.start()
        return child

    def set_password(self, password: str) -> None:
        """What the broker takes for the user's password from now on."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            made = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), password.encode())
            admin.alter_user_scram_credentials([made])[USER].result()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("secure")
    authority = Authority(directory)
    good = authority.issue("good", HOST)
    doors = [
        Door("GOOD", "SASL_SSL", good),
        Door("OLD", "SASL_SSL", authority.issue("old", HOST, expired=True)),
        Door("ELSEWHERE", "SASL_SSL", authority.issue("elsewhere", "kafka.elsewhere.test")),
        Door("MUTUAL", "SSL", good, authority.certificate),
    ]
    kafka = EmbeddedKafka(directory / "broker", doors=doors)
    try:
        kafka.start()
        here = Place(directory, kafka, {door.name: door for door in doors}, authority)
        here.set_password(KAFKA_PASSWORD)
        yield here
    finally:
        kafka.kill()


@pytest.fixture
def store(place: Place) -> Iterator[dict[str, str]]:
    """A ClickHouse behind TLS and a password; the variables that open it."""
    port = free_port()
    pem = place.authority.issue("clickhouse", HOST)
    password = place.written("clickhouse.password", CLICKHOUSE_PASSWORD)
    script = Path(__file__).with_name("locked_clickhouse.py")
    command = [sys.executable, str(script), str(place.directory / "clickhouse"), str(pem), str(port), str(password)]
    server = Child("clickhouse", command, place.directory / f"clickhouse-{port}.log", place.environ())
    try:
        server.start()
        wait_for_line(server, "ready", 60)
        yield {
            "FOOTFALL_CLICKHOUSE": f"https://{HOST}:{port}",
            "FOOTFALL_CLICKHOUSE_USER": WRITER,
            "FOOTFALL_CLICKHOUSE_PASSWORD": CLICKHOUSE_PASSWORD,
            "FOOTFALL_CLICKHOUSE_CA_FILE": str(place.authority.certificate),
        }
    finally:
        server.stop()


def ended(child: Child, wait_s: float = 120.0) -> tuple[int, str]:
    """Exit code and log of a child that ends by itself."""
    assert child.process is not None
    try:
        return child.process.wait(wait_s), child.log.read_text()
    finally:
        child.kill()


def arguments_of(child: Child) -> str:
    assert child.process is not None
    return Path(f"/proc/{child.process.pid}/cmdline").read_text()


def test_a_capture_goes_through_tls_and_passwords_everywhere_and_an_outage_of_the_login_loses_nothing(
    place: Place, store: dict[str, str]
) -> None:
    environ = place.environ(**store)
    plain = place.kafka.bootstrap
    assert ended(place.child("topics", environ))[0] == 0
    assert ended(place.child("schema", environ))[0] == 0
    worker, sink = place.child("stream", environ), place.child("sink", environ)
    try:

        def supervise() -> None:
            for child in (worker, sink):
                if child.exit_code() is not None:
                    child.start()

        code, log = ended(place.child("collect", environ))
        assert code == 0, log
        wait_until_zero(lambda: stream_lag(plain), supervise, 90)
        wait_until_zero(lambda: sink_lag(plain), supervise, 90)
        assert visits_in(store) == DEVICES
        assert (worker.exit_code(), sink.exit_code()) == (None, None), worker.tail() + sink.tail()
        for child in (worker, sink):
            assert not {KAFKA_PASSWORD, CLICKHOUSE_PASSWORD} & set(arguments_of(child).split("\0"))

        place.set_password("another one")
        before = {child: len(child.log.read_text()) for child in (worker, sink)}
        place.kafka.kill()
        place.kafka.start()
        unlocked = {"FOOTFALL_CONFIG": environ["FOOTFALL_CONFIG"], "FOOTFALL_BOOTSTRAP": plain}
        assert ended(place.child("collect", unlocked | {"FOOTFALL_METRICS_PORT": "0"}, days_later=1))[0] == 0
        for child, length in before.items():
            # librdkafka and aiokafka both repeat what the broker says.
            refused = partial(_not_said, child, length, "invalid credentials")
            wait_until_zero(refused, supervise, 90)
        assert visits_in(store) == DEVICES
        place.set_password(KAFKA_PASSWORD)
        wait_until_zero(lambda: stream_lag(plain), supervise, 90)
        wait_until_zero(lambda: sink_lag(plain), supervise, 90)
        assert visits_in(store) == 2 * DEVICES
    finally:
        worker.stop()
        sink.stop()
    for path in place.directory.rglob("*.log"):
        assert "5ecret" not in path.read_text(errors="replace"), path


def _not_said(child: Child, since: int, text: str) -> int:
    return text not in child.log.read_text()[since:]


def visits_in(store: Mapping[str, str]) -> int:
    read = SettingsReader(store)
    with closing(open_client(ClickHouseAddress.read(read))) as client:
        return int(client.query("SELECT count() FROM footfall.visits").result_rows[0][0])


WRONG = {
    "a wrong password": ("GOOD", {"FOOTFALL_KAFKA_PASSWORD": "5ecret-but-wrong"}, "FOOTFALL_KAFKA_PASSWORD"),
    "a user that does not exist": ("GOOD", {"FOOTFALL_KAFKA_USERNAME": "nobody"}, "Kafka refuses user 'nobody'"),
    "a mechanism that the broker does not have": (
        "GOOD",
        {"FOOTFALL_KAFKA_SASL_MECHANISM": "plain"},
        "FOOTFALL_KAFKA_SASL_MECHANISM",
    ),
    "an unknown authority": ("GOOD", {"FOOTFALL_KAFKA_CA_FILE": "strangers.pem"}, "set FOOTFALL_KAFKA_CA_FILE"),
    "an expired certificate": ("OLD", {}, "certificate has expired"),
    "a certificate of another host": ("ELSEWHERE", {}, "IP address mismatch"),
    "no certificate of the client's own": (
        "MUTUAL",
        {"FOOTFALL_KAFKA_SECURITY_PROTOCOL": "ssl", "FOOTFALL_KAFKA_USERNAME": ""},
        "FOOTFALL_KAFKA_CERT_FILE",
    ),
}


def wrong(place: Place, name: str) -> tuple[dict[str, str], str]:
    """Variables with one thing wrong, and what the message must hold."""
    door, changes, said = WRONG[name]
    strangers = Authority(place.directory, "strangers").certificate
    changes = {key: str(strangers) if value == "strangers.pem" else value for key, value in changes.items()}
    environ = place.environ(door, **changes)
    if door == "MUTUAL" or "FOOTFALL_KAFKA_PASSWORD" in changes:
        environ["FOOTFALL_KAFKA_PASSWORD_FILE"] = ""
    return environ, said


@pytest.mark.parametrize("name", WRONG)
def test_what_keeps_a_client_out_for_good_is_named_with_its_variable(place: Place, name: str) -> None:
    environ, said = wrong(place, name)
    read = SettingsReader(environ)
    transport = KafkaTransport.read(read)
    read.finish()
    with pytest.raises(ConfigError) as caught:
        check_access(transport)
    (problem,) = caught.value.problems
    assert said in problem
    assert "5ecret" not in problem


@pytest.mark.parametrize("stage", ["collect", "stream", "sink", "topics"])
def test_every_process_that_is_refused_at_its_start_ends_with_2(place: Place, stage: str) -> None:
    names = ["a wrong password", "an unknown authority", "an expired certificate"]
    nobody = {"FOOTFALL_CLICKHOUSE": "http://127.0.0.1:9"}
    children = {name: place.child(stage, wrong(place, name)[0] | nobody) for name in names}
    try:
        for name, child in children.items():
            code, log = ended(child)
            assert (code, name) == (2, name), log
            assert WRONG[name][2] in log
            assert "5ecret" not in log
    finally:
        for child in children.values():
            child.kill()


def test_a_sensor_that_has_spooled_before_goes_on_hearing_though_kafka_refuses_it(place: Place) -> None:
    environ, said = wrong(place, "an expired certificate")
    directory = place.directory / "spool"
    metrics = CollectorMetrics(CollectorRegistry())
    with closing(Spool(directory, Bounds(10**7, 10**9), metrics, lambda _: None)) as spool:
        spool.append(SIGHTINGS.name, b"s", b"a batch", FRAMES[0][0], "a")
    key = place.written("key.toml", "")
    key.unlink()
    init = ("keys", "init", "--config", environ["FOOTFALL_CONFIG"], "--key-file", str(key))
    assert main([*init, "--from-date", "2023-11-14"]) == 0
    more = {"FOOTFALL_SPOOL": str(directory), "FOOTFALL_KEY_FILE": str(key), "FOOTFALL_STORE": "s"}
    command = footfall("collect", "--stdin", "--sensor", "a")
    child = Child("collect", command, place.directory / "spooling.log", environ | more)
    child.start()
    try:
        goes_on = "waits in the spool"
        wait_until_zero(lambda: goes_on not in child.log.read_text() and child.exit_code() is None, lambda: None, 60)
        child.stop()
    finally:
        child.kill()
    assert said in child.log.read_text()
    assert goes_on in child.log.read_text()
    assert child.exit_code() == 0, child.tail()


def test_a_client_with_a_certificate_of_its_own_comes_in(place: Place) -> None:
    own = str(place.authority.issue("client", "client.test"))
    environ = place.environ(
        "MUTUAL",
        FOOTFALL_KAFKA_SECURITY_PROTOCOL="ssl",
        FOOTFALL_KAFKA_CERT_FILE=own,
        FOOTFALL_KAFKA_KEY_FILE=own,
        FOOTFALL_KAFKA_USERNAME="",
        FOOTFALL_KAFKA_PASSWORD_FILE="",
    )
    read = SettingsReader(environ)
    transport = KafkaTransport.read(read)
    read.finish()
    check_access(transport)
    apply_topics(transport.client(), partitions=2)
    assert read_all(transport.client(), SIGHTINGS.name) is not None


@pytest.mark.parametrize(
    ("door", "said"),
    [
        pytest.param("OLD", "certificate has expired", id="an expired certificate"),
        pytest.param("ELSEWHERE", "IP address mismatch", id="a certificate of another host"),
    ],
)
def test_a_clickhouse_whose_certificate_is_no_good_is_refused(place: Place, door: str, said: str) -> None:
    # Until the certificates are exchanged, one server is like another.
    with pytest.raises(ConfigError, match=said):
        open_client(ClickHouseAddress(f"https://{place.at(door)}", ca_file=place.authority.certificate))


def test_a_clickhouse_that_refuses_the_login_is_no_outage_at_start_and_one_later(
    place: Place, store: dict[str, str]
) -> None:
    wrong_login = store | {"FOOTFALL_CLICKHOUSE_PASSWORD": "5ecret-but-wrong"}
    stranger = store | {"FOOTFALL_CLICKHOUSE_CA_FILE": str(Authority(place.directory, "strangers").certificate)}
    for changed, said in ((wrong_login, "FOOTFALL_CLICKHOUSE_PASSWORD"), (stranger, "FOOTFALL_CLICKHOUSE_CA_FILE")):
        for stage in ("sink", "schema"):
            code, log = ended(place.child(stage, place.environ(**changed)))
            assert code == 2, log
            assert said in log
            assert "5ecret" not in log
    with closing(ClickHouseStore(ClickHouseAddress.read(SettingsReader(store)))) as running:
        running.connect()
        place.written("clickhouse.password", "another one")
        with pytest.raises(StoreUnavailable):
            running.insert("visits_log", pa.table({"store_id": ["s"]}))
        with pytest.raises(StoreUnavailable, match="ClickHouse refuses user 'writer'"):
            running.insert("visits_log", pa.table({"store_id": ["s"]}))


def test_the_embedded_stack_listens_on_loopback_only(tmp_path: Path) -> None:
    stack = Stack(tmp_path, tmp_path / "chain.toml")
    stack.config.write_text(CONFIG)
    try:
        stack.start()
        wait_until_zero(lambda: not listening(stack.worker), stack.supervise, 60)
        wait_until_zero(lambda: not listening(stack.sink), stack.supervise, 60)
        children = {
            "kafka": stack.kafka.child,
            "worker": stack.worker,
            "sink": stack.sink,
            "clickhouse": stack._database,
        }
        found = {name: listening(child) for name, child in children.items()}
    finally:
        stack.stop()
    assert all(found.values()), found
    assert {address for addresses in found.values() for address in addresses} <= LOOPBACK


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as Linux prints it, also as an IPv6 address."""


def listening(child: Child) -> set[str]:
    """Addresses at which a process takes connections, in Linux's hexadecimal."""
    assert child.process is not None
    process = Path(f"/proc/{child.process.pid}")
    own = set()
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            own.add(os.readlink(link))
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in (process / "net" / table).read_text().splitlines()[1:]
    ]
    # Columns: local address, state (0A is LISTEN), inode.
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
