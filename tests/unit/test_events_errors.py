"""An error's class says what its caller does; its text says what happened."""

from __future__ import annotations

import pytest
from footfall_events.errors import (
    BrokerUnavailable,
    ConfigError,
    FootfallError,
    PoisonEvent,
    Retryable,
    StoreUnavailable,
)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (Retryable, [FootfallError]),
        (BrokerUnavailable, [Retryable, FootfallError]),
        (StoreUnavailable, [Retryable, FootfallError]),
        (PoisonEvent, [FootfallError]),
        (ConfigError, [FootfallError]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_to_do_follows_from_the_class_and_from_one_only(
    error: type[FootfallError], parents: list[type[FootfallError]]
) -> None:
    answers = {FootfallError, Retryable, PoisonEvent, ConfigError}
    assert {answer for answer in answers if issubclass(error, answer)} == {*parents, error} & answers


def test_a_poison_has_a_label_for_counters_and_a_detail_for_people() -> None:
    assert (PoisonEvent("not_arrow").reason, str(PoisonEvent("not_arrow"))) == ("not_arrow", "not_arrow")
    assert str(PoisonEvent("not_arrow", "empty value")) == "not_arrow: empty value"


def test_a_wrong_configuration_lists_every_problem_on_a_line() -> None:
    error = ConfigError(("a is not set", "b is 3: must be from 1 to 2"))
    assert error.problems == ["a is not set", "b is 3: must be from 1 to 2"]
    assert str(error) == "a is not set\nb is 3: must be from 1 to 2"
