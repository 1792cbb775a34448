"""The golden sightings, as the job takes them, are the golden visits and minutes, and those are the story."""

from __future__ import annotations

import tomllib
from typing import Any

import pyarrow as pa
import pytest
from footfall_events.rows import decode_rows
from footfall_events.schemas import VISITS
from footfall_streams.fold import StoreJob
from footfall_streams.step import Output, Step

from tests.golden import story
from tests.golden.decoded import decoded
from tests.golden.files import HERE, golden_chain, golden_messages
from tests.golden.stages import STORE_ID, log_of, published, steps
from tests.oracle.pseudonyms import pseudonyms
from tests.property.worlds import Tables

NEVER = "never"
Row = dict[str, Any]


def test_the_sightings_give_the_golden_messages() -> None:
    sent = published(steps(log_of(golden_messages("sightings.v1")), golden_chain()))
    assert {topic: [decoded(value) for value in values] for topic, values in sent.items()} == {
        topic: [decoded(value) for value in golden_messages(topic)] for topic in ("visits.v1", "store_minutes.v1")
    }


def test_taken_one_by_one_they_leave_the_same_tables() -> None:
    log = log_of(golden_messages("sightings.v1"))
    job, one_by_one, golden = StoreJob(golden_chain(), lambda key: 0), Tables(), Tables()
    for message in log:
        one_by_one.add(job.take([message]))
    for topic in ("visits.v1", "store_minutes.v1"):
        for value in golden_messages(topic):
            golden.add(Step({0: [Output(topic, STORE_ID.encode(), value)]}))
    assert golden.visits() == one_by_one.visits()
    assert golden.minutes() == one_by_one.minutes()
    assert len(golden.minutes()) > 20


def _rows() -> list[Row]:
    rows: list[Row] = pa.Table.from_batches(
        [decode_rows(value, VISITS) for value in golden_messages("visits.v1")]
    ).to_pylist()
    return rows


def _of(who: str, rows: list[Row]) -> list[Row]:
    """The rows of one sender of the story, named as the oracle names it."""
    key_file = tomllib.loads((HERE / "test-key.toml").read_text(encoding="utf-8"))
    known = pseudonyms(key_file, STORE_ID)(who, rows[0]["business_date"])
    assert known is not None
    return [row for row in rows if row["device_id"] == known[0]]


def _local(row: Row, column: str) -> str:
    return NEVER if row[column] is None else row[column].astimezone(story.ZONE).strftime("%H:%M:%S")


@pytest.mark.parametrize(
    ("who", "first", "entered", "left", "last", "dwell_s", "role", "engaged", "address_class"),
    [
        pytest.param(
            story.VISITOR, "09:00:00", "09:00:00", "09:20:00", "09:20:40", 1200, 3, True, 1, id="the visitor of 20 min"
        ),
        pytest.param(
            story.BOUNCED, "09:02:00", "09:02:00", "09:03:30", "09:03:30", 90, 2, False, 1, id="in and out again"
        ),
        pytest.param(
            story.PASSER_BY, "09:05:15", NEVER, NEVER, "09:05:15", None, 1, False, 1, id="passing by, never near"
        ),
        pytest.param(
            story.STAFF, "08:58:10", "08:58:10", "09:01:00", "09:01:00", 170, 4, False, 1, id="there before opening"
        ),
        pytest.param(
            story.GUEST, "09:06:03", "09:06:03", "09:12:30", "09:12:30", 386, 3, False, 2, id="on the shop's Wi-Fi"
        ),
        pytest.param(
            story.BROWSER, "09:01:30", "09:01:30", "09:14:30", "09:14:30", 780, 3, False, 1, id="joined by late rows"
        ),
    ],
)
def test_each_visit_that_stands_in_the_end_is_the_one_of_the_story(
    who: str,
    first: str,
    entered: str,
    left: str,
    last: str,
    dwell_s: int | None,
    role: int,
    engaged: bool,
    address_class: int,
) -> None:
    newest = {row["visit_id"]: row for row in sorted(_rows(), key=lambda row: int(row["version"]))}
    [visit] = _of(who, [row for row in newest.values() if not row["deleted"]])
    assert [_local(visit, name) for name in ("first_seen_at", "entered_at", "left_at", "last_seen_at")] == [
        first,
        entered,
        left,
        last,
    ]
    assert (visit["dwell_s"], visit["role"], visit["engaged"]) == (dwell_s, role, engaged)
    assert (visit["address_class"], visit["rule_version"]) == (address_class, "golden@1")
    assert visit["business_date"].isoformat() == story.DAY


def test_random_addresses_have_no_visit() -> None:
    assert _of(story.RANDOM, _rows()) == _of(story.RENAMED, _rows()) == []


def test_the_late_rows_withdraw_the_second_of_two_visits_with_all_its_keys() -> None:
    rows = _of(story.BROWSER, _rows())
    [withdrawn] = [row for row in _rows() if row["deleted"]]
    sent, again = [row for row in rows if _local(row, "first_seen_at") == "09:14:30"]
    assert again == withdrawn
    assert {name for name in sent if sent[name] != withdrawn[name]} == {"version", "deleted"}
    before, after = [row for row in rows if _local(row, "first_seen_at") == "09:01:30"]
    assert before["visit_id"] == after["visit_id"]
    assert (before["sightings"], after["sightings"]) == (1, 5)
    assert before["version"] < after["version"]
