"""Makes this environment as poor as an image: only what the lock file ONLY_LOCKED names can be imported.

Python imports this module at its start if its folder is on PYTHONPATH. What is installed here but not named there
cannot be found, and neither can setuptools, which the images remove once it has built the distribution.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType


class OnlyLocked(MetaPathFinder):
    """Refuses the top-level modules in `hidden`, with the words that Python has for a missing one."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def hidden_by(lock: Path) -> frozenset[str]:
    """Top-level modules of the installed distributions that the lock does not name."""
    named = set(re.findall(r"^([a-z0-9.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE))
    named = (named | {"footfall"}) - {"setuptools"}
    found = packages_distributions()
    return frozenset(
        module
        for module, distributions in found.items()
        if named.isdisjoint(re.sub(r"[-_.]+", "-", name).lower() for name in distributions)
    )


# The parent hands the lock's path over; there is no other way into a process that runs a container's command.
sys.meta_path.insert(0, OnlyLocked(hidden_by(Path(os.environ["ONLY_LOCKED"]))))  # noqa: TID251  see above
