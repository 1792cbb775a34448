"""Workers of two releases side by side, the newer of which writes its state in another format."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from footfall_cli.embedded_kafka import EmbeddedKafka
from footfall_streams.state import FORMAT

from tests.broker.fleets import Fleet, fleet_on
from tests.broker.side_by_side import Case, chosen, side_by_side
from tests.broker.workers import ending

pytestmark = pytest.mark.broker

PARTITIONS = 4
NEXT_RELEASE = (sys.executable, Path(__file__).with_name("next_release.py"))


def formats(fleet: Fleet) -> set[int]:
    """Formats in which the partitions' last commits were written."""
    fleet.checkpoints.next_offsets()
    return set(fleet.checkpoints.formats.values())


def rolls_through(kafka: EmbeddedKafka, directory: Path) -> None:
    with fleet_on(kafka.bootstrap, directory, "rolling", PARTITIONS) as fleet:
        fleet.add("old-1", "old-2")
        fleet.recover("start of two old workers")
        assert formats(fleet) == {FORMAT}
        fleet.remove("old-1")
        fleet.add("new-1", command=NEXT_RELEASE)
        fleet.until(lambda: formats(fleet) == {FORMAT, FORMAT + 1})
        fleet.recover("a new worker beside an old one")
        assert formats(fleet) == {FORMAT, FORMAT + 1}
        fleet.remove("old-2")
        fleet.until(lambda: formats(fleet) == {FORMAT + 1})
        fleet.add("new-2", command=NEXT_RELEASE)
        fleet.recover("two new workers")
        fleet.assert_exact()


def older_worker(kafka: EmbeddedKafka, directory: Path) -> None:
    with fleet_on(kafka.bootstrap, directory, "older", PARTITIONS) as fleet:
        fleet.add("new-1", command=NEXT_RELEASE)
        fleet.recover("start of a new worker")
        old = fleet.worker("old")
        with ending(old):
            fleet.until(lambda: old.child.exit_code() is not None)
            assert old.child.exit_code() == 2
            assert "upgrade this worker" in old.child.tail(40)
        fleet.recover("an old worker that came and went")
        assert formats(fleet) == {FORMAT + 1}
        fleet.assert_exact()


CASES: dict[str, Case] = {
    "an upgrade of the state's format rolls through two workers": rolls_through,
    "an older worker is given state of a newer format": older_worker,
}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    cases = {name: CASES[name] for name in chosen(request, "case")}
    with side_by_side(cases, tmp_path_factory.mktemp("upgrade"), brokers=2, partitions=PARTITIONS) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_no_row_differs_when(case: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[case].result()
