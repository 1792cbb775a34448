"""The golden captures, as the collector hears them, are the golden messages; nothing in these names an address."""

from __future__ import annotations

import pyarrow as pa
import pytest
from footfall_events.rows import decode_rows
from footfall_events.schemas import SENSOR_MINUTES, FrameKind
from footfall_events.sighting_batches import decode_sightings

from tests.golden import story
from tests.golden.decoded import decoded
from tests.golden.files import TOPICS, golden_captures, golden_chain, golden_key, golden_messages
from tests.golden.stages import collected


@pytest.mark.parametrize("topic", ["sightings.v1", "sensor_minutes.v1"])
def test_the_captures_give_the_golden_messages(topic: str) -> None:
    sent = collected(golden_captures(), golden_chain(), golden_key())[topic]
    assert [decoded(value) for value in sent] == [decoded(value) for value in golden_messages(topic)]


def test_the_captures_are_the_story() -> None:
    assert golden_captures() == story.captures()


def test_the_minutes_count_what_the_story_says() -> None:
    rows = pa.Table.from_batches(
        [decode_rows(value, SENSOR_MINUTES) for value in golden_messages("sensor_minutes.v1")]
    ).to_pylist()
    door = [row for row in rows if row["sensor_id"] == "door"]
    counts = {name: sum(row[name] for row in door) for name in ("frames", "rejected", "ignored")}
    assert counts == {"frames": len(story.DOOR) + 1, "rejected": 1, "ignored": 3}
    near_the_random_phone = {row["minute"]: row for row in door if row["random_bursts_55"]}
    assert [
        (row["random_bursts_55"], row["random_bursts_60"], row["random_addresses_all"])
        for row in near_the_random_phone.values()
    ] == [(1, 2, 1), (1, 1, 1)], "one phone, renamed in between: nobody can tell"
    assert (
        round(sum(row["listening_s"] for row in door), 3)
        == (story.at_ms(story.DOOR[-1][0]) - story.at_ms(story.DOOR[0][0])) / 1000
    )


def test_the_sightings_are_of_stable_addresses_one_without_a_signal() -> None:
    rows = [row for value in golden_messages("sightings.v1") for row in decode_sightings(value)[1].to_pylist()]
    senders = {sender for _, _, sender, _ in (*story.DOOR, *story.TILL)}
    silent = {story.SHOP_WIFI, story.EQUIPMENT, story.RANDOM, story.RENAMED}
    assert len({row["device_id"] for row in rows}) == len(senders - silent)
    assert [row["rssi_dbm"] for row in rows].count(None) == 1
    guest = [row for row in rows if row["address_class"] == 2]
    assert guest[0]["frame_kinds"] == FrameKind.ASSOCIATION_REQUEST | FrameKind.DATA
    assert {row["frame_kinds"] for row in guest[1:]} == {FrameKind.DATA}


def test_no_spelling_of_an_address_is_in_a_golden_message() -> None:
    values = [value for topic in TOPICS for value in golden_messages(topic)]
    for address in {sender for _, _, sender, _ in (*story.DOOR, *story.TILL)}:
        raw = bytes.fromhex(address.replace(":", ""))
        spellings = (raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), address.encode())
        assert not any(spelling in value for spelling in spellings for value in values), address
