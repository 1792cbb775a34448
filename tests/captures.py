"""The shared real captures; tests that read them carry the mark `captures` and are skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
BRNO = sorted((CAPTURES / "brno_sc661").glob("*.pcap"))
TCPDUMP = sorted((CAPTURES / "tcpdump_tests").glob("*.pcap"))
