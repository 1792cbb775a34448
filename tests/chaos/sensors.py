"""What the campaign's stores hear: simulated captures, through real collectors or past them.

A piped sensor is a real `footfall collect --stdin` with a spool, fed as time goes by. A gateway stands for a feed that
delivers badly: batches late, twice and in the wrong order, as they were made from its capture.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from random import Random

import pyarrow as pa
from confluent_kafka import Producer
from footfall_collectors.collect import StoreRun
from footfall_collectors.pseudonyms import load_key
from footfall_collectors.session import Batching
from footfall_events.producing import PRODUCER
from footfall_events.rows import encode_rows
from footfall_events.schemas import SIGHTINGS as SIGHTING_ROWS
from footfall_events.sighting_batches import BatchHeader, encode_sightings
from footfall_events.stores import ChainConfig
from footfall_events.topics import SENSOR_MINUTES, SIGHTINGS

NONSENSE = 2000
"""Messages that are no batches: each must become exactly one dead letter."""

_HEADER_BYTES, _RECORD_BYTES = 24, 16
NOTHING = pa.RecordBatch.from_pylist([], schema=SIGHTING_ROWS)
_PIPE_BYTES = 65_536
_TICK_S = 0.2


def records(capture: bytes) -> Iterator[tuple[float, bytes]]:
    """Event time in seconds and bytes of every record of a little-endian pcap."""
    at = _HEADER_BYTES
    while at < len(capture):
        seconds, micros, length, _ = struct.unpack_from("<IIII", capture, at)
        end = at + _RECORD_BYTES + length
        yield seconds + micros / 1e6, capture[at:end]
        at = end


class PipedSensor:
    """One collector process and the thread that is its radio. What it missed while it was down stays unheard."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environ: dict[str, str], capture: Path) -> None:
        self.name, self._command, self._log, self._environ = name, list(command), log, environ
        self._capture = capture.read_bytes()
        self._process: subprocess.Popen[bytes] | None = None
        self.held = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._play, name=name, daemon=True)
        self._over = threading.Event()
        self._pace_s = 0.0

    def play(self, for_s: float) -> None:
        """Begin: the whole capture within so many seconds."""
        self._pace_s = for_s
        self.start()
        self._thread.start()

    def start(self, *, uplink: bool = True) -> None:
        """Start the collector unless it runs; without an uplink nothing answers where its broker should be."""
        with self._lock:
            self.held = False
            if self.runs:
                return  # two faults struck it, and the other's repair came first
            read, write = os.pipe()
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            environ = self._environ if uplink else {**self._environ, "FOOTFALL_BOOTSTRAP": "127.0.0.1:1"}
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, stdin=read, stdout=log, stderr=log, env=environ, start_new_session=True
                )
            os.close(read)
            self._pipe = write
            os.write(write, self._capture[:_HEADER_BYTES])

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.runs:
            self.process.send_signal(number)

    def end(self, number: signal.Signals, wait_s: float = 30.0) -> int:
        """End the collector by a signal and wait; its exit code."""
        self.held = True
        self.send(number)
        if number != signal.SIGKILL:
            self.send(signal.SIGCONT)
        code = self.process.wait(wait_s)
        with self._lock:
            os.close(self._pipe)
        return code

    def kill(self) -> None:
        """The end, whatever state it is in."""
        self.held = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> int:
        """Wait for the radio's end and let the collector send what is left; its exit code."""
        self._thread.join()
        if not self.runs:
            self.start()
        with self._lock:
            os.close(self._pipe)
        return self.process.wait(120)

    def _play(self) -> None:
        heard = list(records(self._capture))
        begin, end = heard[0][0], heard[-1][0]
        started, said = time.monotonic(), 0
        while said < len(heard):
            time.sleep(_TICK_S)
            now = begin + (time.monotonic() - started) / self._pace_s * (end - begin)
            due = bisect_right(heard, now, lo=said, key=itemgetter(0))
            # A frozen collector holds the writer up; killing it lets go: its successor's pipe is never mistaken.
            with self._lock:
                if not self.held and self.runs:
                    with suppress(BrokenPipeError):
                        os.write(self._pipe, b"".join(record for _, record in heard[said:due]))
            said = due


class Gateway:
    """Delivers the batches of one capture late, in any order, and some of them twice; now and then nonsense."""

    def __init__(self, chain: ChainConfig, store_id: str, sensor_id: str, key_file: Path, capture: Path) -> None:
        run = StoreRun(chain.stores[store_id], chain.privacy, load_key(key_file, chain.privacy), Batching())
        with capture.open("rb") as file:
            outputs = list(run.stream(sensor_id, "gateway", file))
        self._store_id = store_id
        self._messages = [
            (output.at_ms, SENSOR_MINUTES.name, encode_rows(output.rows))
            if output.header is None
            else (output.at_ms, SIGHTINGS.name, encode_sightings(output.header, output.rows))
            for output in outputs
        ]
        self.nonsense: list[bytes] = []

    def play(self, bootstrap: str, for_s: float, keys: Sequence[bytes], random: Random) -> threading.Thread:
        """Send everything within so many seconds, nonsense under any key; the thread ends once all is confirmed."""
        begin, end = self._messages[0][0], self._messages[-1][0]
        plan: list[tuple[float, str, bytes, bytes]] = []
        for at_ms, topic, value in self._messages:
            due = (at_ms - begin) / (end - begin) * for_s
            key = self._store_id.encode()
            plan += [(due + random.expovariate(1 / 2.0), topic, key, value) for _ in range(random.choice((1, 1, 1, 2)))]
        for number in range(NONSENSE):
            self.nonsense.append(b"nonsense %d" % number)
            plan.append((random.uniform(0, for_s), SIGHTINGS.name, random.choice(keys), self.nonsense[-1]))
        thread = threading.Thread(target=self._send, args=(bootstrap, sorted(plan)), name="gateway", daemon=True)
        thread.start()
        return thread

    def _send(self, bootstrap: str, plan: Sequence[tuple[float, str, bytes, bytes]]) -> None:
        started = time.monotonic()
        producer = patient_producer(bootstrap)
        for due, topic, key, value in plan:
            while (wait := started + due - time.monotonic()) > 0:
                producer.poll(min(wait, 0.1))
            producer.produce(topic, value, key)
        assert producer.flush(120) == 0


def close_store(bootstrap: str, store_id: str, sensor_id: str, clock_ms: int, key_epoch: int) -> None:
    """The batch that ends a store's day: nothing comes after it."""
    header = BatchHeader(store_id, sensor_id, "the end", 0, clock_ms, key_epoch, "chaos", final=True)
    producer = patient_producer(bootstrap)
    producer.produce(SIGHTINGS.name, encode_sightings(header, NOTHING), store_id.encode())
    assert producer.flush(60) == 0


def patient_producer(bootstrap: str) -> Producer:
    """One that never gives a message up, whatever becomes of the broker."""
    return Producer(
        {
            **PRODUCER,
            "bootstrap.servers": bootstrap,
            "message.timeout.ms": 0,
            "log_level": 0,
        }
    )
