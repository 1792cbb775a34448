"""What the sink refuses before it opens a socket."""

from __future__ import annotations

import pytest
from footfall_events.errors import ConfigError
from footfall_sinks.clickhouse import url_problem
from footfall_sinks.settings import SinkSettings

GOOD = {"FOOTFALL_BOOTSTRAP": "kafka:9092", "FOOTFALL_CLICKHOUSE": "http://clickhouse:8123"}


def test_two_addresses_are_enough() -> None:
    settings = SinkSettings.from_mapping(GOOD)
    assert (settings.limits.rows, settings.limits.linger_s, settings.limits.idle_s) == (50_000, 1.0, 0.5)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        SinkSettings.from_mapping({"FOOTFALL_CLICKHOUSE": "clickhouse:8123", "FOOTFALL_SINK_ROWS": "many"})
    assert len(caught.value.problems) == 3


def test_a_bad_url_is_reported_without_its_password() -> None:
    assert "secret" not in url_problem("ftp://user:secret@host")


@pytest.mark.parametrize("url", ["http://host", "https://user:word@host:8443", "http://[::1]:8123"])
def test_a_url_of_an_http_interface_is_taken(url: str) -> None:
    assert url_problem(url) == ""
