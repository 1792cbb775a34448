"""A short campaign, part of every run of the tests; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.faults import drawn
from tests.chaos.verdict import DAMAGE, Verdict


@pytest.mark.broker
def test_a_short_campaign_ends_exact(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, 4, drawn(4), faults=8, every_s=5.0)
    verdict = campaign.run()
    assert verdict.is_exact, "\n".join([str(verdict), *campaign.kinds])
    assert verdict.sightings > 10_000


@pytest.mark.parametrize("name", DAMAGE)
def test_any_difference_is_damage(name: str) -> None:
    verdict = Verdict(sightings=1)
    assert verdict.is_exact
    setattr(verdict, name, 1)
    assert not verdict.is_exact
