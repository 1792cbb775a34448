"""docker-compose.yml as data: what an engine would run, with which environment, on which paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.compose.dockerfile import Dockerfile, read_dockerfile

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE_ENV = ROOT / "infra" / "compose" / "example.env"

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+):(?P<kind>[-?])(?P<text>[^}]*)\})")
"""The forms that the file uses: an escaped dollar, a variable with a default, a variable that must be set."""


@dataclass(frozen=True)
class Mount:
    """One volume of a service; `source` is a path if it is a bind mount, else a volume's name."""

    source: str
    target: str
    is_bind: bool


class Service:
    """One service with its variables filled in. `dockerfile` is None for an image that is not ours."""

    def __init__(self, name: str, spec: Mapping[str, Any]) -> None:
        self.name = name
        self.spec = spec
        build = spec.get("build")
        self.dockerfile: Dockerfile | None = read_dockerfile(ROOT / build["dockerfile"]) if build else None

    @property
    def argv(self) -> list[str]:
        """What runs in the container: the entry point, then the command, the file's own before the image's."""
        image = self.dockerfile
        entrypoint = self.spec.get("entrypoint", image.words("ENTRYPOINT") if image else [])
        return [*entrypoint, *self.spec.get("command", image.words("CMD") if image else [])]

    @property
    def environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.spec.get("environment", {}).items()}

    @property
    def mounts(self) -> list[Mount]:
        found = []
        for volume in self.spec.get("volumes", []):
            if isinstance(volume, dict):
                found.append(Mount(volume["source"], volume["target"], volume["type"] == "bind"))
            else:
                source, target = volume.split(":")[:2]
                found.append(Mount(source, target, source.startswith((".", "/"))))
        return found

    @property
    def ends(self) -> bool:
        """Whether it does one thing and ends."""
        return bool(self.spec["restart"] == "no")

    @property
    def health_test(self) -> list[str]:
        """The command that says whether it is healthy; empty without one."""
        kind, *argv = self.spec.get("healthcheck", {}).get("test", ["NONE"])
        return argv if kind == "CMD" else []


def raw() -> dict[str, Any]:
    """The parsed file, anchors and merges resolved, variables as they stand."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def example_values() -> dict[str, str]:
    """The variables that example.env gives."""
    lines = EXAMPLE_ENV.read_text(encoding="utf-8").splitlines()
    found = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in found}


def services(values: Mapping[str, str]) -> dict[str, Service]:
    """Every service; raises KeyError with the file's own message for a variable that must be set."""
    return {name: Service(name, _filled(spec, values)) for name, spec in raw()["services"].items()}


def _filled(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, values) for value in node]
    return VARIABLE.sub(lambda found: _value(found, values), node) if isinstance(node, str) else node


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found["name"]
    if name is None:
        return "$"
    if not values.get(name) and found["kind"] == "?":
        raise KeyError(f"{name}: {found['text']}")
    return values.get(name) or found["text"]
