"""The campaign notices each way in which the protocol can be broken; `make chaos-teeth`."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.chaos.broken import FLAWS
from tests.chaos.campaign import Campaign, say
from tests.chaos.faults import FAULTS, Fault, fail_at

_KINDS = {fault.kind: fault for fault in FAULTS}
_CALM = Fault("nothing", 0, 0, lambda fleet, random: lambda: None)
_KILLED_AFTER_A_COMMIT = Fault("worker killed after a commit", 0, 0, fail_at("kill", "committed", 1))
_STOPPED_BEFORE_A_COMMIT = Fault("worker stopped before a commit", 0, 20, fail_at("stop", "folded", 2), shortest_s=20)
_DATABASE_DOWN = replace(_KINDS["database killed"], shortest_s=15, longest_s=15)

PLANS = {
    "outputs_outside_the_transaction": [_KILLED_AFTER_A_COMMIT] * 5,
    "state_without_its_offset": [_KILLED_AFTER_A_COMMIT] * 5,
    "a_random_transactional_id": [_STOPPED_BEFORE_A_COMMIT, *[_CALM] * 4, *[_KINDS["worker killed"]] * 3],
    "no_guard_and_messages_dropped": [_CALM] * 3,
    "the_highest_sequence_only": [_CALM] * 3,
    "commit_before_insert": [_DATABASE_DOWN, _KINDS["sink killed"], _KINDS["sink killed"]] * 2,
}


@pytest.mark.teeth
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_broken_protocol_is_noticed(tmp_path: Path, flaw: str) -> None:
    verdict = Campaign(tmp_path, 1, cycle(PLANS[flaw]), len(PLANS[flaw]), every_s=12.0, flaw=flaw).run()
    say(f"{flaw}: {verdict.damage}")
    assert not verdict.is_exact
