"""An embedded ClickHouse of one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def clickhouse(data: Path) -> Iterator[str]:
    """The URL of chDB behind its endpoint, on that directory; it ends in order or fails."""
    command = [sys.executable, "-m", "footfall_cli.embedded_clickhouse", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            word, port = child.stdout.readline().split()
            assert word == "ready"
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            assert child.wait(30) == 0
