"""Business days turn at the store's cut-over, through daylight saving, skipped hours and a skipped date."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from footfall_events.business_days import BusinessDays, date_of, day_number, local_ms
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.store_settings import business_date

HOUR_MS = 3_600_000
STEADY = ("UTC", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago")
CHANGING = (
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "America/St_Johns",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
ZONES = STEADY + CHANGING
unhurried = settings(deadline=None)
zones, cutovers = st.sampled_from(ZONES), st.integers(0, 12)


def days(zone: str, cutover: int = 4) -> BusinessDays:
    return BusinessDays(ZoneInfo(zone), time(cutover))


def ms(text: str) -> int:
    """Epoch ms of an ISO time with an offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "cutover", "instant", "day"),
    [
        pytest.param("UTC", 4, "2026-01-05T03:59:59.999+00:00", "2026-01-04", id="the last ms before the cut-over"),
        pytest.param("UTC", 4, "2026-01-05T04:00:00.000+00:00", "2026-01-05", id="the cut-over itself"),
        pytest.param("UTC", 0, "2026-01-05T00:00:00.000+00:00", "2026-01-05", id="a cut-over at midnight"),
        pytest.param("UTC", 12, "2026-01-05T11:59:59.999+00:00", "2026-01-04", id="a cut-over at noon"),
        pytest.param("Europe/Berlin", 4, "2026-03-29T03:59:59.999+02:00", "2026-03-28", id="Berlin springs, before"),
        pytest.param("Europe/Berlin", 4, "2026-03-29T04:00:00.000+02:00", "2026-03-29", id="Berlin springs, at"),
        pytest.param("Europe/Berlin", 2, "2026-03-29T01:59:59.999+01:00", "2026-03-28", id="Berlin skips its cut-over"),
        pytest.param("Europe/Berlin", 2, "2026-03-29T03:00:00.000+02:00", "2026-03-29", id="and goes on behind it"),
        pytest.param("Europe/Berlin", 4, "2026-10-25T03:59:59.999+01:00", "2026-10-24", id="Berlin falls, before"),
        pytest.param("Europe/Berlin", 4, "2026-10-25T04:00:00.000+01:00", "2026-10-25", id="Berlin falls, at"),
        pytest.param(
            "Europe/Berlin", 2, "2026-10-25T01:59:59.999+02:00", "2026-10-24", id="a cut-over that comes twice"
        ),
        pytest.param("Europe/Berlin", 2, "2026-10-25T02:00:00.000+02:00", "2026-10-25", id="counts the first time"),
        pytest.param("Europe/Berlin", 2, "2026-10-25T02:00:00.000+01:00", "2026-10-25", id="and only once"),
        pytest.param(
            "America/New_York", 4, "2026-03-08T03:59:59.999-04:00", "2026-03-07", id="New York springs, before"
        ),
        pytest.param("America/New_York", 4, "2026-03-08T04:00:00.000-04:00", "2026-03-08", id="New York springs, at"),
        pytest.param("America/New_York", 4, "2026-11-01T03:59:59.999-05:00", "2026-10-31", id="New York falls, before"),
        pytest.param("America/New_York", 4, "2026-11-01T04:00:00.000-05:00", "2026-11-01", id="New York falls, at"),
        pytest.param(
            "Australia/Lord_Howe", 2, "2026-10-04T01:59:59.999+10:30", "2026-10-03", id="half an hour skipped"
        ),
        pytest.param("Australia/Lord_Howe", 2, "2026-10-04T02:30:00.000+11:00", "2026-10-04", id="the half hour after"),
        pytest.param("Australia/Lord_Howe", 2, "2026-04-05T01:59:59.999+10:30", "2026-04-04", id="half an hour twice"),
        pytest.param("Australia/Lord_Howe", 2, "2026-04-05T02:00:00.000+10:30", "2026-04-05", id="then the cut-over"),
        pytest.param("Africa/Cairo", 0, "2026-04-23T23:59:59.999+02:00", "2026-04-23", id="Cairo skips midnight"),
        pytest.param("Africa/Cairo", 0, "2026-04-24T01:00:00.000+03:00", "2026-04-24", id="and begins at one"),
        pytest.param("America/Havana", 0, "2026-11-01T00:30:00.000-04:00", "2026-11-01", id="Havana repeats midnight"),
        pytest.param("America/Havana", 0, "2026-11-01T00:30:00.000-05:00", "2026-11-01", id="the same day"),
        pytest.param("America/St_Johns", 0, "2010-11-07T00:00:30.000-02:30", "2010-11-07", id="a minute into Sunday"),
        pytest.param(
            "America/St_Johns", 0, "2010-11-06T23:30:00.000-03:30", "2010-11-07", id="the wall clock goes back"
        ),
        pytest.param("Pacific/Apia", 4, "2011-12-29T23:59:59.999-10:00", "2011-12-29", id="Apia before the lost date"),
        pytest.param("Pacific/Apia", 4, "2011-12-31T03:59:59.999+14:00", "2011-12-29", id="a day of its full length"),
        pytest.param("Pacific/Apia", 4, "2011-12-31T04:00:00.000+14:00", "2011-12-31", id="after it, nobody's 30th"),
        pytest.param("Pacific/Kiritimati", 4, "2026-01-05T04:00:00.000+14:00", "2026-01-05", id="far east"),
        pytest.param("Pacific/Pago_Pago", 4, "2026-01-05T03:59:59.999-11:00", "2026-01-04", id="far west"),
        pytest.param("UTC", 4, "1970-01-01T03:59:59.999+00:00", "1969-12-31", id="before day 0"),
        pytest.param("America/New_York", 4, "1912-04-15T04:00:00.000-05:00", "1912-04-15", id="long before"),
    ],
)
def test_the_business_date_of_an_instant(zone: str, cutover: int, instant: str, day: str) -> None:
    number = days(zone, cutover).number_at(ms(instant))
    assert date_of(number).isoformat() == day
    assert days(zone, cutover).numbers_at(np.array([ms(instant)])).tolist() == [number]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", "2026-03-28", 23, id="Berlin in spring"),
        pytest.param("Europe/Berlin", "2026-10-24", 25, id="Berlin in autumn"),
        pytest.param("America/New_York", "2026-03-07", 23, id="New York in spring"),
        pytest.param("America/New_York", "2026-10-31", 25, id="New York in autumn"),
        pytest.param("Australia/Lord_Howe", "2026-10-03", 23.5, id="Lord Howe in spring"),
        pytest.param("Australia/Lord_Howe", "2026-04-04", 24.5, id="Lord Howe in autumn"),
        pytest.param("Pacific/Apia", "2011-12-30", 0, id="Apia's date that never was"),
        pytest.param("Europe/Berlin", "2026-06-01", 24, id="an ordinary day"),
    ],
)
def test_the_length_of_a_business_day(zone: str, day: str, hours: float) -> None:
    number = day_number(date.fromisoformat(day))
    length_ms = days(zone).starts_at_ms(number + 1) - days(zone).starts_at_ms(number)
    assert length_ms == hours * HOUR_MS


@pytest.mark.parametrize(
    ("zone", "day", "at", "instant"),
    [
        pytest.param("Europe/Berlin", "2026-03-29", time(2, 30), "2026-03-29T02:30:00+01:00", id="skipped"),
        pytest.param("Europe/Berlin", "2026-10-25", time(2, 30), "2026-10-25T02:30:00+02:00", id="twice: the first"),
        pytest.param("Europe/Berlin", "2026-07-01", time(9), "2026-07-01T09:00:00+02:00", id="once"),
        pytest.param("Pacific/Apia", "2011-12-30", time(9), "2011-12-30T09:00:00-10:00", id="on a skipped date"),
    ],
)
def test_the_instant_of_a_local_time(zone: str, day: str, at: time, instant: str) -> None:
    assert local_ms(date.fromisoformat(day), at, ZoneInfo(zone)) == ms(instant)


@unhurried
@given(st.dates(date(1, 1, 1), date(9999, 12, 31)))
def test_a_day_number_names_one_date_as_arrow_counts_them(day: date) -> None:
    assert date_of(day_number(day)) == day
    assert day_number(day) == np.datetime64(day, "D").astype(int)


@unhurried
@given(zones, cutovers, st.lists(st.integers(ms("1900-01-01T00:00+00:00"), ms("2100-01-01T00:00+00:00")), max_size=8))
def test_a_column_of_instants_gets_what_each_gets(zone: str, cutover: int, instants: list[int]) -> None:
    # Spread over some days, as a column is; its cost grows with the days.
    column = np.array([instants[0] + instant % (40 * 24 * HOUR_MS) for instant in instants], np.int64)
    calendar = days(zone, cutover)
    assert calendar.numbers_at(column).tolist() == [calendar.number_at(instant) for instant in column.tolist()]


@cache
def _changes_of(zone: str) -> list[int]:
    """Instants from 2005 to 2030 at which the zone's offset changes, epoch ms, to the minute."""
    info, found = ZoneInfo(zone), []
    step, now = timedelta(days=1), datetime(2005, 1, 1, tzinfo=ZoneInfo("UTC"))
    while now.year < 2030:
        low, high = now, now + step
        if low.astimezone(info).utcoffset() != high.astimezone(info).utcoffset():
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(info).utcoffset() == low.astimezone(info).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(round(high.timestamp() * 1000))
        now += step
    return found


@unhurried
@given(st.sampled_from(CHANGING), cutovers, st.data())
def test_around_a_change_of_the_clock_columns_and_instants_agree_and_never_go_back(
    zone: str, cutover: int, data: st.DataObject
) -> None:
    change = data.draw(st.sampled_from(_changes_of(zone)))
    offsets = data.draw(st.lists(st.integers(-15 * HOUR_MS, 15 * HOUR_MS), min_size=1, max_size=30))
    instants = np.array(sorted(change + offset for offset in offsets), np.int64)
    calendar = days(zone, cutover)
    numbers = calendar.numbers_at(instants)
    assert numbers.tolist() == [calendar.number_at(instant) for instant in instants.tolist()]
    assert (np.diff(numbers) >= 0).all()
    for number, instant in zip(numbers.tolist(), instants.tolist(), strict=True):
        assert calendar.starts_at_ms(number) <= instant < calendar.starts_at_ms(number + 1)


@unhurried
@given(
    st.sampled_from(sorted({*ZONES} - {"Pacific/Apia"})),
    cutovers,
    st.integers(ms("2015-01-01T00:00+00:00"), ms("2035-01-01T00:00+00:00")),
)
def test_the_oracle_reads_the_same_date_off_the_wall_clock(zone: str, cutover: int, instant: int) -> None:
    wanted = business_date({"time_zone": zone, "cutover": time(cutover)}, instant)
    assert date_of(days(zone, cutover).number_at(instant)) == wanted


def test_no_instants_have_no_dates() -> None:
    assert days("UTC").numbers_at(np.empty(0, np.int64)).tolist() == []
