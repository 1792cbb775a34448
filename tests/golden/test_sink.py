"""The golden results are what the sink takes."""

from __future__ import annotations

import pytest
from footfall_sinks.batch import TARGETS, Block, read_item

from tests.golden.files import golden_messages
from tests.golden.stages import STORE_ID


@pytest.mark.parametrize("topic", TARGETS)
def test_every_message_is_read_without_poison_into_the_tables_columns(topic: str) -> None:
    items = [read_item(topic, offset, STORE_ID.encode(), value) for offset, value in enumerate(golden_messages(topic))]
    assert [item.poison for item in items] == [""] * len(items)
    table = Block(topic, 0, tuple(items)).table()
    assert table.schema.equals(TARGETS[topic].schema, check_metadata=True)
    assert table.num_rows == sum(item.part.num_rows for item in items if item.part is not None) > 0
