"""No view shows a number of people without its interval, its method and its calibration."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.store.world import World

_PEOPLE = re.compile(r"people|person|visitor|customer|occupancy|crowd|head|footfall|inside|estimate")
_PHONES = re.compile(r"stable_|^present$|^entries$|^exits$|^passers_by$")
"""Figures of the stable sample: phones, and they say so."""
_PARTS = ("_lo", "_hi", "_method")


def bare(view: str, columns: Iterable[str]) -> list[str]:
    """Columns that tell of people without all that belongs to it."""
    known = set(columns)
    return [
        f"{view}.{name}"
        for name in sorted(known)
        if _PEOPLE.search(name)
        and not _PHONES.search(name)
        and not name.endswith(_PARTS)
        and not (name.endswith("_estimate") and {*(name + part for part in _PARTS), "calibration_id"} <= known)
    ]


def test_no_view_shows_a_bare_count_of_people(world: World) -> None:
    views = world.rows("SELECT name FROM system.tables WHERE database = 'footfall' AND engine = 'View'")
    found: dict[str, list[str]] = {view["name"]: [] for view in views}
    for row in world.rows("SELECT table, name FROM system.columns WHERE database = 'footfall'"):
        if row["table"] in found:
            found[row["table"]].append(row["name"])
    assert {"store_days", "chain_days", "occupancy_5min", "store_hours", "traffic_hours"} <= found.keys()
    assert [name for view, columns in found.items() for name in bare(view, columns)] == []
    # What these words miss, somebody must have looked at: whole numbers and fractions that count something else.
    numbers = world.rows(
        "SELECT table, name, comment FROM system.columns WHERE database = 'footfall' AND match(type, 'Int|Float')"
    )
    said = [row for row in numbers if row["table"] in found and re.search(r"\b(people|persons)\b", row["comment"])]
    assert [
        f"{row['table']}.{row['name']}" for row in said if not re.search(r"_estimate(_lo|_hi)?$", row["name"])
    ] == []


def test_a_bare_count_is_found_out() -> None:
    whole = ["store_id", "visitors_estimate", *(f"visitors_estimate{part}" for part in _PARTS), "calibration_id"]
    assert bare("v", whole) == []
    for missing in whole[1:]:
        assert "v.visitors_estimate" in bare("v", [c for c in whole if c != missing]) or missing == "visitors_estimate"
    assert bare("v", [*whole, "visitors"]) == ["v.visitors"]
    assert bare("v", ["stable_visitors", "present"]) == []
