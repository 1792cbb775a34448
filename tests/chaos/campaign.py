"""One campaign: simulated stores through real parts, faults at random moments, then the comparison with the oracle."""

from __future__ import annotations

import heapq
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import pyarrow as pa
from footfall_cli.drained import read_all, sink_lag, stream_lag, wait_until_zero
from footfall_cli.main import main
from footfall_cli.queries import query
from footfall_cli.simulator import simulate
from footfall_events.stores import load_chain
from footfall_events.topics import DEAD_LETTERS, SENSOR_MINUTES, SIGHTINGS, STORE_MINUTES, VISITS

from tests.chaos.faults import Fault
from tests.chaos.fleet import PARTITIONS, Fleet
from tests.chaos.observer import Observer
from tests.chaos.sensors import Gateway, close_store
from tests.chaos.verdict import Sent, Verdict, judge, repeated_rows

DAY = date(2026, 3, 7)
_DRAIN_S = 180.0


class Campaign:
    """`run` gives the verdict; everything random comes from the seed, but for the machine's own timing."""

    def __init__(
        self, directory: Path, seed: int, plan: Iterator[Fault], faults: int, every_s: float, flaw: str = ""
    ) -> None:
        """`plan` never ends: what cannot happen when its turn comes is passed over. `every_s` is an average."""
        self._random = Random(seed)
        self._plan, self._faults, self._every_s = plan, faults, every_s
        self.chain = simulate(
            directory / "chain", stores=3, days=1, seed=seed, start=DAY, visitors_per_day=60, randomising_share=0.6
        )
        self._key_file = directory / "key.toml"
        init = ("keys", "init", "--config", str(self.chain.config), "--key-file", str(self._key_file))
        assert main([*init, "--from-date", str(DAY)]) == 0
        self.fleet = Fleet(directory, self.chain.config, flaw)
        self._repairs: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.kinds: list[str] = []
        self.observer: Observer | None = None

    def run(self) -> Verdict:
        try:
            self.fleet.start(workers=2, sinks=2)
            self.observer = Observer(self.fleet.kafka.bootstrap, PARTITIONS)
            gateway = self._play()
            self._trouble()
            say("no more faults")
            self._calm_down()
            for sensor in self.fleet.sensors:
                self._finish(sensor.finish)
            self._gateway_thread.join(120)
            say("the day is over")
            self._close_stores()
            self._drain()
            say("everything is worked off")
            self.observer.close()
            for fault in self.observer.felt:
                say(f"{fault.kind}: felt for {fault.recovered_s or -1:.1f} s")
            return self._judge(gateway)
        finally:
            self.fleet.stop()

    # -- the stores --------------------------------------------------------------------------------------

    def _play(self) -> Gateway:
        """Let the day begin. One sensor of the first store is a gateway, all others are piped collectors."""
        for_s = self._faults * self._every_s
        captures = [(store_id, path) for store_id, paths in self.chain.captures.items() for path in paths]
        store_id, badly_delivered = captures.pop(1)
        for of_store, path in captures:
            self.fleet.add_sensor(of_store, path, self._key_file)
        config = load_chain(self.chain.config)
        gateway = Gateway(config, store_id, badly_delivered.stem, self._key_file, badly_delivered)
        for sensor in self.fleet.sensors:
            sensor.play(for_s)
        keys = [store.encode() for store in self.chain.captures]
        self._gateway_thread = gateway.play(self.fleet.kafka.bootstrap, for_s, keys, Random(self._random.random()))
        return gateway

    def _finish(self, wait: Callable[[], int]) -> None:
        code = wait()
        assert code in (0, 1), f"a collector ended with {code}"

    def _close_stores(self) -> None:
        sent = self._sent()
        for store_id, clocks in sent.clocks.items():
            newest = max(max(found) for found in clocks.values())
            sensor_id = next(iter(clocks))
            close_store(self.fleet.kafka.bootstrap, store_id, sensor_id, newest, 0)

    # -- the faults --------------------------------------------------------------------------------------

    def _trouble(self) -> None:
        next_s = time.monotonic() + self._every_s
        while len(self.kinds) < self._faults:
            time.sleep(0.1)
            now = time.monotonic()
            self._repair(now)
            self.fleet.supervise()
            if now >= next_s and self._strike(next(self._plan)):
                next_s = time.monotonic() + self._random.uniform(0.3, 1.7) * self._every_s

    def _strike(self, fault: Fault) -> bool:
        repair = fault.apply(self.fleet, self._random)
        if repair is None:
            return False
        assert self.observer is not None
        self.kinds.append(fault.kind)
        self.observer.feel(fault.kind, sink=fault.felt_by_sink)
        lasting_s = self._random.uniform(fault.shortest_s, fault.longest_s)
        say(f"{len(self.kinds)}/{self._faults} {fault.kind}, for {lasting_s:.1f} s")
        heapq.heappush(self._repairs, (time.monotonic() + lasting_s, next(self._number), repair))
        return True

    def _repair(self, now: float) -> None:
        while self._repairs and self._repairs[0][0] <= now:
            heapq.heappop(self._repairs)[2]()

    def _calm_down(self) -> None:
        self._repair(float("inf"))
        self.fleet.calm()

    # -- the end -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        for lag in (stream_lag, sink_lag):
            wait_until_zero(partial(lag, self.fleet.kafka.bootstrap), self.fleet.supervise, _DRAIN_S)

    def _sent(self) -> Sent:
        sent = Sent()
        for message in read_all(self.fleet.kafka.bootstrap, SIGHTINGS.name):
            if not (message.value or b"").startswith(b"nonsense"):
                sent.add(message.value or b"")
        return sent

    def _judge(self, gateway: Gateway) -> Verdict:
        bootstrap, sent = self.fleet.kafka.bootstrap, self._sent()
        stores = {store["id"]: store for store in tomllib.loads(self.chain.config.read_text())["stores"]}
        minutes = [
            row
            for message in read_all(bootstrap, SENSOR_MINUTES.name)
            for row in pa.ipc.open_stream(message.value).read_all().to_pylist()
        ]
        verdict = judge(sent, stores, partial(query, self.fleet.clickhouse_url), minutes)
        verdict.visits_duplicated += repeated_rows(read_all(bootstrap, VISITS.name), ["visit_id"])
        verdict.minutes_duplicated = repeated_rows(read_all(bootstrap, STORE_MINUTES.name), ["store_id", "minute"])
        verdict.batches_missing, verdict.batches_out_of_order = sent.missing(), sent.out_of_order("gateway")
        letters = sorted(message.value or b"" for message in read_all(bootstrap, DEAD_LETTERS.name))
        verdict.dead_letters_different = len(set(letters) ^ set(gateway.nonsense)) + len(letters) - len(set(letters))
        return verdict

    def recovery_p95_s(self) -> float:
        """Time from a fault until all that waited when it came was worked off; nearest-rank 95th percentile."""
        assert self.observer is not None
        times = sorted(fault.recovered_s for fault in self.observer.felt if fault.recovered_s is not None)
        return round(times[max(0, -(-95 * len(times) // 100) - 1)], 1) if times else float("nan")


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
