"""What the sink refuses before it opens a socket."""

from __future__ import annotations

import pytest
from footfall_events.errors import ConfigError
from footfall_sinks.address import url_problem
from footfall_sinks.settings import SinkSettings

GOOD = {"FOOTFALL_BOOTSTRAP": "kafka:9092", "FOOTFALL_CLICKHOUSE": "http://clickhouse:8123"}


def test_two_addresses_are_enough() -> None:
    settings = SinkSettings.from_mapping(GOOD)
    assert (settings.limits.rows, settings.limits.linger_s, settings.limits.idle_s) == (50_000, 0.5, 0.25)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        SinkSettings.from_mapping({"FOOTFALL_CLICKHOUSE": "clickhouse:8123", "FOOTFALL_SINK_ROWS": "many"})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("url", ["ftp://user:secret@host", "https://user:secret@host", "http://secret@host"])
def test_a_url_with_a_password_is_refused_without_repeating_it(url: str) -> None:
    assert url_problem(url)
    assert "secret" not in url_problem(url)


@pytest.mark.parametrize("url", ["http://host", "https://host:8443", "http://[::1]:8123"])
def test_a_url_of_an_http_interface_is_taken(url: str) -> None:
    assert url_problem(url) == ""
