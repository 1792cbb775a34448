"""The shared real captures, or a skip that says that they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
BRNO = sorted((CAPTURES / "brno_sc661").glob("*.pcap"))
TCPDUMP = sorted((CAPTURES / "tcpdump_tests").glob("*.pcap"))

NO_CAPTURES = "the shared captures are not beside the repository"
needs_captures = pytest.mark.skipif(not BRNO, reason=NO_CAPTURES)
