"""Settings of a process: typed look-ups that report every problem at once and go on with the default."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from footfall_events.errors import ConfigError
from footfall_events.settings import SettingsReader

Look = Callable[[SettingsReader], object]


def text(read: SettingsReader) -> object:
    return read.text("X", "default")


def number(read: SettingsReader) -> object:
    return read.number("X", 1.5, low=1, high=10)


def integer(read: SettingsReader) -> object:
    return read.integer("X", 5, low=1, high=10)


def yes(read: SettingsReader) -> object:
    return read.flag("X", True)


def no(read: SettingsReader) -> object:
    return read.flag("X", False)


@pytest.mark.parametrize(
    ("look", "raw", "value"),
    [
        pytest.param(text, "kafka:9092", "kafka:9092", id="a text"),
        pytest.param(text, None, "default", id="no text"),
        pytest.param(text, "", "default", id="an empty text"),
        pytest.param(number, "2.5", 2.5, id="a number"),
        pytest.param(number, None, 1.5, id="no number"),
        pytest.param(number, "", 1.5, id="an empty number"),
        pytest.param(number, "1", 1.0, id="the lowest number"),
        pytest.param(number, "10", 10.0, id="the highest number"),
        pytest.param(integer, "7", 7, id="a whole number"),
        pytest.param(integer, "7.0", 7, id="a whole number with a point"),
        pytest.param(integer, None, 5, id="no whole number"),
        *(pytest.param(no, raw, True, id=f"{raw} is true") for raw in ("1", "true", "TRUE", "yes", "on")),
        *(pytest.param(yes, raw, False, id=f"{raw} is false") for raw in ("0", "false", "False", "no", "off")),
        pytest.param(yes, None, True, id="no flag, default true"),
        pytest.param(no, "", False, id="an empty flag, default false"),
    ],
)
def test_a_good_value_is_read_without_a_problem(look: Look, raw: str | None, value: object) -> None:
    read = SettingsReader({} if raw is None else {"X": raw})
    found = look(read)
    assert (found, type(found)) == (value, type(value))
    read.finish()


@pytest.mark.parametrize(
    ("look", "raw", "default", "problem"),
    [
        pytest.param(lambda read: read.text("X"), None, "", "X is not set", id="a text that must be"),
        pytest.param(lambda read: read.text("X"), "", "", "X is not set", id="a text that is empty"),
        pytest.param(number, "many", 1.5, "X is 'many': give a number", id="no number"),
        pytest.param(number, "0.99", 1.5, "X is 0.99: must be from 1 to 10", id="below"),
        pytest.param(number, "10.01", 1.5, "X is 10.01: must be from 1 to 10", id="above"),
        pytest.param(number, "nan", 1.5, "X is nan: must be from 1 to 10", id="not a number by name"),
        pytest.param(number, "inf", 1.5, "X is inf: must be from 1 to 10", id="infinite"),
        pytest.param(integer, "2.5", 5, "X is 2.5: give a whole number", id="a fraction"),
        pytest.param(integer, "eleven", 5, "X is 'eleven': give a number", id="a number in words"),
        pytest.param(integer, "11", 5, "X is 11: must be from 1 to 10", id="a whole number above"),
        pytest.param(yes, "maybe", True, "X is 'maybe': give true or false", id="a flag in between, default true"),
        pytest.param(no, "2", False, "X is '2': give true or false", id="a flag in between, default false"),
    ],
)
def test_a_bad_value_is_reported_and_the_default_taken(
    look: Look, raw: str | None, default: object, problem: str
) -> None:
    read = SettingsReader({} if raw is None else {"X": raw})
    assert look(read) == default
    assert read.problems == [problem]
    with pytest.raises(ConfigError) as caught:
        read.finish()
    assert caught.value.problems == [problem]


def test_every_problem_is_reported_at_once_in_the_order_asked() -> None:
    read = SettingsReader({"A": "x", "B": "99", "C": "perhaps"})
    read.number("A", 1, low=0, high=2)
    read.integer("B", 1, low=0, high=2)
    read.flag("C", True)
    read.text("D")
    with pytest.raises(ConfigError) as caught:
        read.finish()
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["A", "B", "C", "D"]
