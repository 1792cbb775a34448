"""`python -m tests.bench.peers flink|quix|quix-arrow [SIGHTINGS]`: one run of a peer, checked, on its own broker."""

from __future__ import annotations

import sys

from tests.bench.broker import broker
from tests.bench.peers.run import FLINK, QUIX, QUIX_ARROW, rate
from tests.bench.workload import Workload


def main(name: str, sightings: str = "200000") -> None:
    peer = {"flink": FLINK, "quix": QUIX, "quix-arrow": QUIX_ARROW}[name]
    workload = Workload(devices=int(sightings) // 20, sightings=int(sightings))
    with broker() as (kafka, directory):
        wholes: list[float] = []
        steady = rate(peer, kafka, directory, workload, 200, wholes)
        sys.stdout.write(f"{steady:,.0f} sightings/s, {wholes[0]:,.0f} with start-up and warm-up\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
