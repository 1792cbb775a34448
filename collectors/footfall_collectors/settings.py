"""Settings of a collector: one store, its sources, its key; every problem reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from footfall_events.errors import ConfigError
from footfall_events.settings import SettingsReader
from footfall_events.stores import ChainConfig, StoreConfig, load_chain
from footfall_events.transport import KafkaTransport

from footfall_collectors.session import Batching
from footfall_collectors.spool import Bounds

_MB, _HOUR_MS = 1_000_000, 3_600_000
_ADDRESS = re.compile(r"(\w+://)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class CollectorSettings:
    """What one process collects. Exactly one of `captures`, `stdin`, `interface` is meant.

    `spool` is None for captures, whatever is given: they are on disk already, and sent again they are the same.
    """

    chain: ChainConfig
    store: StoreConfig
    transport: KafkaTransport
    batching: Batching
    captures: Mapping[str, Path]
    sensor_id: str
    stdin: bool
    interface: str
    filter: str
    key_file: Path | None
    spool: Path | None
    spool_bounds: Bounds
    metrics_host: str
    metrics_port: int

    @classmethod
    def from_mapping(cls, values: Mapping[str, str], pcaps: Sequence[str], *, throwaway: bool) -> CollectorSettings:
        """Read FOOTFALL_* values and `[SENSOR=]FILE` captures; raises ConfigError with every problem."""
        read = SettingsReader(values)
        problems = read.problems
        chain = _chain(read)
        store_id = read.text("FOOTFALL_STORE")
        store = chain.stores.get(store_id) if chain else None
        if chain and store_id and store is None:
            problems.append(f"store {store_id!r} is not in the configuration, only {', '.join(sorted(chain.stores))}")
        captures = _captures(pcaps, problems)
        interface, sensor_id = values.get("FOOTFALL_INTERFACE", ""), values.get("FOOTFALL_SENSOR", "")
        stdin = read.flag("FOOTFALL_STDIN", False)
        if bool(captures or pcaps) + stdin + bool(interface) != 1:
            problems.append("give exactly one kind of source: --pcap FILE…, --stdin or --interface NAME")
        if (stdin or interface) and not sensor_id:
            problems.append("--sensor is needed: the sensor that the pipe or the interface is")
        for sensor in [*captures, *([sensor_id] if sensor_id else [])]:
            if store and sensor not in store.sensors:
                problems.append(f"store {store_id!r} has no sensor {sensor!r}, only {', '.join(store.sensors)}")
        key_file = values.get("FOOTFALL_KEY_FILE")
        if not key_file and not (throwaway and captures):
            problems.append("no key: give --key-file (`footfall keys init` makes one), or --throwaway-key for captures")
        heartbeat = read.integer("FOOTFALL_HEARTBEAT_S", 60 if captures else 5, low=1, high=60)
        problems += filter(None, [heartbeat_problem(heartbeat)])
        max_rows = read.integer("FOOTFALL_MAX_ROWS", 2000, low=1, high=5000)
        transport = KafkaTransport.read(read)
        problems += filter(None, [bootstrap_problem(transport.bootstrap)])
        spool = values.get("FOOTFALL_SPOOL")
        bounds = Bounds(
            most_bytes=read.integer("FOOTFALL_SPOOL_MB", 256, low=1, high=1_000_000) * _MB,
            most_age_ms=int(read.number("FOOTFALL_SPOOL_HOURS", 72, low=1, high=8784) * _HOUR_MS),
        )
        host = read.text("FOOTFALL_METRICS_HOST", "127.0.0.1")
        port = read.integer("FOOTFALL_METRICS_PORT", 9101, low=0, high=65_535)
        if problems or chain is None or store is None:
            raise ConfigError(problems)
        return cls(
            chain=chain,
            store=store,
            transport=transport,
            batching=Batching(heartbeat * 1000, max_rows),
            captures=captures,
            sensor_id=sensor_id,
            stdin=stdin,
            interface=interface,
            filter=values.get("FOOTFALL_FILTER", ""),
            key_file=Path(key_file) if key_file else None,
            spool=Path(spool) if spool and not captures else None,
            spool_bounds=bounds,
            metrics_host=host,
            metrics_port=port,
        )

    @property
    def bootstrap(self) -> str:
        return self.transport.bootstrap

    def kafka(self) -> dict[str, str]:
        """Client configuration for confluent-kafka."""
        return self.transport.client()


def heartbeat_problem(heartbeat_s: int) -> str:
    """What is wrong with a heartbeat in seconds; empty if nothing."""
    if 1 <= heartbeat_s <= 60 and 60 % heartbeat_s == 0:
        return ""
    return f"FOOTFALL_HEARTBEAT_S is {heartbeat_s}: must divide a minute, like 5, 10, 30 or 60"


def bootstrap_problem(bootstrap: str) -> str:
    """What is wrong with Kafka's addresses; empty if nothing. Its client takes any text, and then waits for ever."""
    addresses = [address.strip() for address in bootstrap.split(",") if address.strip()]
    for address in addresses:
        found = _ADDRESS.fullmatch(address)
        if not found or not 1 <= int(found["port"] or 9092) <= 65_535:
            return f"FOOTFALL_BOOTSTRAP has {address!r}: give HOST:PORT, several with commas between them"
    if bootstrap and not addresses:
        return f"FOOTFALL_BOOTSTRAP is {bootstrap!r}: give HOST:PORT, several with commas between them"
    return ""


def _chain(read: SettingsReader) -> ChainConfig | None:
    path = read.text("FOOTFALL_CONFIG")
    if not path:
        return None
    try:
        return load_chain(Path(path))
    except ConfigError as error:
        read.problems.extend(error.problems)
        return None


def _captures(pcaps: Sequence[str], problems: list[str]) -> dict[str, Path]:
    """Each sensor's file; a file without a sensor's name is the sensor of its stem."""
    captures: dict[str, Path] = {}
    for text in pcaps:
        name, separator, rest = text.partition("=")
        path = Path(rest) if separator else Path(text)
        sensor = name if separator else path.stem
        try:
            if not path.is_file():
                problems.append(f"{path}: is a directory" if path.is_dir() else f"{path}: no such file")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        if sensor in captures:
            problems.append(f"two captures are sensor {sensor!r}: name them SENSOR=FILE")
        captures[sensor] = path
    return captures
