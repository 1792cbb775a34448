"""A Dockerfile, a lock file and .dockerignore as data."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

_LOCKED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>\S+) \\$", re.MULTILINE)


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, continuations joined."""

    name: str
    text: str


@dataclass(frozen=True)
class Dockerfile:
    """The stages of a build; the last one is the image."""

    path: Path
    stages: list[list[Instruction]]

    @property
    def lock(self) -> Path:
        return self.path.parent / "requirements.lock"

    def words(self, name: str) -> list[str]:
        """The words of the image's last such instruction, in its JSON form."""
        found = [json.loads(line.text) for line in self.stages[-1] if line.name == name]
        return [str(word) for word in found[-1]] if found else []

    def texts(self, name: str) -> list[str]:
        """What follows each such instruction, over all stages."""
        return [line.text for stage in self.stages for line in stage if line.name == name]

    def copied(self) -> list[tuple[str, str]]:
        """(file or folder of the repository, where the build puts it) of every COPY but those between stages."""
        pairs = []
        for text in self.texts("COPY"):
            *sources, target = shlex.split(text)
            if not sources[0].startswith("--from"):
                pairs += [(source, target) for source in sources]
        return pairs


def read_dockerfile(path: Path) -> Dockerfile:
    """Parse the file; comments are dropped."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    stages: list[list[Instruction]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, text))
    return Dockerfile(path, stages)


def locked(lock: Path) -> dict[str, str]:
    """Version of every package that a lock file names."""
    return {found["name"]: found["version"] for found in _LOCKED.finditer(lock.read_text(encoding="utf-8"))}


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path of the repository out of a build: the last pattern that matches decides."""
    names = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    ignored = False
    for pattern in patterns:
        keeps = pattern.startswith("!")
        wanted = pattern.removeprefix("!").removeprefix("**/")
        if any(fnmatchcase(name, wanted) or fnmatchcase(name, f"*/{wanted}") for name in names):
            ignored = not keeps
    return ignored
