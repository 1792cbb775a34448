"""The Python environment of each peer, made on demand below `.bench/` from lists of pinned, summed files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from footfall_cli.kafka_jars import ROOT, fetch, fetched
from footfall_events.errors import ConfigError

HOME = ROOT / ".bench"
_SOURCES = Path(__file__).parent
_PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes")


def environment(peer: str) -> Path:
    """Directory of the peer's virtual environment; made anew if a list it was made from has changed.

    The first time takes a minute or two and, for Flink, 950 MB. Raises ConfigError with the end of what pip said.
    """
    home, sources = HOME / peer, _SOURCES / peer
    made_from = home / ".made-from"
    digest = _digest(sources)
    if made_from.exists() and made_from.read_text(encoding="utf-8") == digest:
        return home
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])
    pip = [str(python(peer)), *_PIP]
    if (build := sources / "build.lock").exists():
        # Some of the peer's dependencies exist as source archives only; their build tools are pinned as well.
        _run([*pip, "--only-binary", ":all:", "-r", str(build)])
        _run([*pip, "--no-build-isolation", "-r", str(sources / "requirements.lock")])
    else:
        _run([*pip, "--only-binary", ":all:", "-r", str(sources / "requirements.lock")])
    if (lock := sources / "jgo.lock.toml").exists():
        fetch(home / "jars", lock)
    made_from.write_text(digest, encoding="utf-8")
    return home


def python(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return HOME / peer / "bin" / "python"


def jars(peer: str) -> list[Path]:
    """The jars that a peer's environment holds beside its packages."""
    return fetched(HOME / peer / "jars")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError([f"{' '.join(command[:6])} ended with {done.returncode}", done.stderr[-2000:]])


def _digest(sources: Path) -> str:
    """One sum over every list of the peer; its jobs may change without a new environment."""
    lists = sorted([*sources.glob("*.lock"), *sources.glob("*.toml")])
    sums = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in lists]
    return "".join(sums)
