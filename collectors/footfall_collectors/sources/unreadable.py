"""What ends a source before its time."""

from __future__ import annotations

from footfall_events.errors import FootfallError


class UnreadableCapture(FootfallError):
    """A source that cannot be read at all, or no further; says which and where. What came before it stands."""
