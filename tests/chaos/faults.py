"""Everything that happens to a fleet, as data: what goes wrong, and after how long it is put right."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from footfall_streams.fail_points import POINTS

from tests.chaos.fleet import Fleet, broker_signal
from tests.chaos.members import Member
from tests.chaos.sensors import PipedSensor

Repair = Callable[[], None]
FEWEST, MOST = 2, 3
"""Workers, and sinks, as they are added and removed."""


@dataclass(frozen=True)
class Fault:
    """Applied to a fleet it gives what puts it right, and when (s later); None if it was not possible now."""

    kind: str
    weight: int
    longest_s: float
    apply: Callable[[Fleet, Random], Repair | None]
    felt_by_sink: bool = False
    shortest_s: float = 0


def _nothing() -> None:
    """What is put right by the supervisor alone."""


def _running(members: list[Member], random: Random) -> Member | None:
    able = [member for member in members if member.runs and not member.held and not member.is_stopped()]
    return random.choice(able) if able else None


def _workers(fleet: Fleet) -> list[Member]:
    return fleet.workers


def _sinks(fleet: Fleet) -> list[Member]:
    return fleet.sinks


def _store(fleet: Fleet) -> list[Member]:
    return [fleet.store]


def _to_one(
    members: Callable[[Fleet], list[Member]], strike: Callable[[Member, Random], Repair]
) -> Callable[[Fleet, Random], Repair | None]:
    """What is done to any one of these that runs."""

    def apply(fleet: Fleet, random: Random) -> Repair | None:
        member = _running(members(fleet), random)
        return None if member is None else strike(member, random)

    return apply


def _kill(member: Member, _random: Random) -> Repair:
    member.held = True
    member.child.kill()
    return member.start


def _end(member: Member, _random: Random) -> Repair:
    member.end()
    assert member.child.exit_code() != 2, member.child.tail()
    return member.start


def _freeze(member: Member, _random: Random) -> Repair:
    member.send(signal.SIGSTOP)
    return lambda: member.send(signal.SIGCONT)


def fail_at(action: str, place: str = "", passing: int = 0) -> Callable[[Fleet, Random], Repair | None]:
    """Start a worker anew so that it dies or stops at a place of the protocol, by default any one at any passing."""

    def strike(worker: Member, random: Random) -> Repair:
        worker.child.kill()
        worker.arm(f"{place or random.choice(list(POINTS))}:{action}:{passing or random.randint(1, 8)}")
        worker.start()
        return lambda: worker.send(signal.SIGCONT)

    return _to_one(_workers, strike)


def _add(
    members: Callable[[Fleet], list[Member]], add: Callable[[Fleet], None]
) -> Callable[[Fleet, Random], Repair | None]:
    def apply(fleet: Fleet, _random: Random) -> Repair | None:
        if len(members(fleet)) >= MOST:
            return None
        add(fleet)
        return _nothing

    return apply


def _remove(members: Callable[[Fleet], list[Member]]) -> Callable[[Fleet, Random], Repair | None]:
    def apply(fleet: Fleet, random: Random) -> Repair | None:
        member = _running(members(fleet), random)
        if member is None or len(members(fleet)) <= FEWEST:
            return None
        members(fleet).remove(member)
        member.end()
        return _nothing

    return apply


def _broker_down(number: signal.Signals) -> Callable[[Fleet, Random], Repair | None]:
    def apply(fleet: Fleet, _random: Random) -> Repair | None:
        if fleet.kafka.child.exit_code() is not None or fleet.broker_is_frozen:
            return None
        if number == signal.SIGKILL:
            fleet.kafka.kill()
        else:
            fleet.kafka.stop()
        return fleet.kafka.start

    return apply


def _freeze_broker(fleet: Fleet, _random: Random) -> Repair | None:
    if fleet.kafka.child.exit_code() is not None or fleet.broker_is_frozen:
        return None
    fleet.broker_is_frozen = True
    broker_signal(fleet.kafka, signal.SIGSTOP)

    def thaw() -> None:
        broker_signal(fleet.kafka, signal.SIGCONT)
        fleet.broker_is_frozen = False

    return thaw


def _sensor(fleet: Fleet, random: Random) -> PipedSensor | None:
    able = [sensor for sensor in fleet.sensors if sensor.runs and not sensor.held]
    return random.choice(able) if able else None


def _end_sensor(number: signal.Signals) -> Callable[[Fleet, Random], Repair | None]:
    def apply(fleet: Fleet, random: Random) -> Repair | None:
        sensor = _sensor(fleet, random)
        if sensor is None:
            return None
        sensor.end(number)
        return sensor.start

    return apply


def _freeze_sensor(fleet: Fleet, random: Random) -> Repair | None:
    sensor = _sensor(fleet, random)
    if sensor is None:
        return None
    sensor.send(signal.SIGSTOP)
    return lambda: sensor.send(signal.SIGCONT)


def _cut_uplink(fleet: Fleet, random: Random) -> Repair | None:
    """The collector comes back without a broker, spools, and gets its uplink back at its next start."""
    sensor = _sensor(fleet, random)
    if sensor is None:
        return None
    sensor.end(signal.SIGKILL)
    sensor.start(uplink=False)

    def repair() -> None:
        if sensor.runs:
            sensor.end(random.choice((signal.SIGKILL, signal.SIGTERM)))
        sensor.start()

    return repair


FAULTS = (
    Fault("worker killed", 4, 3, _to_one(_workers, _kill)),
    Fault("worker frozen", 4, 15, _to_one(_workers, _freeze)),
    Fault("worker ended", 2, 3, _to_one(_workers, _end)),
    Fault("worker killed at a fail point", 4, 1, fail_at("kill")),
    Fault("worker stopped at a fail point", 4, 15, fail_at("stop")),
    Fault("worker added", 3, 0, _add(_workers, Fleet.add_worker)),
    Fault("worker removed", 3, 0, _remove(_workers)),
    Fault("broker killed", 2, 4, _broker_down(signal.SIGKILL)),
    Fault("broker ended", 1, 4, _broker_down(signal.SIGTERM)),
    Fault("broker frozen", 2, 12, _freeze_broker),
    Fault("sink killed", 2, 3, _to_one(_sinks, _kill), felt_by_sink=True),
    Fault("sink frozen", 3, 15, _to_one(_sinks, _freeze), felt_by_sink=True),
    Fault("sink ended", 1, 3, _to_one(_sinks, _end), felt_by_sink=True),
    Fault("sink added", 2, 0, _add(_sinks, Fleet.add_sink), felt_by_sink=True),
    Fault("sink removed", 2, 0, _remove(_sinks), felt_by_sink=True),
    Fault("database killed", 2, 6, _to_one(_store, _kill), felt_by_sink=True),
    Fault("database frozen", 2, 12, _to_one(_store, _freeze), felt_by_sink=True),
    Fault("collector killed", 3, 2, _end_sensor(signal.SIGKILL)),
    Fault("collector ended", 1, 2, _end_sensor(signal.SIGTERM)),
    Fault("collector frozen", 2, 8, _freeze_sensor),
    Fault("uplink cut", 3, 20, _cut_uplink),
)
"""`weight` is how often a kind is drawn beside the others, `longest_s` how long it may last."""


def drawn(seed: int) -> Iterator[Fault]:
    """Faults at random, without end."""
    random = Random(seed)
    while True:
        yield random.choices(FAULTS, [fault.weight for fault in FAULTS])[0]
