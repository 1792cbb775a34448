"""Runs services of docker-compose.yml as plain processes, with stand-ins for its addresses and paths."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from footfall_cli.children import Child, free_port

from tests.compose.compose_file import ROOT, Service

ONLY_LOCKED = Path(__file__).parent / "only_locked"


def wait_until(is_so: Callable[[], bool], what: str, wait_s: float = 40.0) -> None:
    """Poll until the condition holds; raises TimeoutError naming it."""
    deadline = time.monotonic() + wait_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {wait_s:.0f} s there is still not: {what}")
        time.sleep(0.1)


class Running:
    """One long-running service as a process of this machine."""

    def __init__(self, service: Service, child: Child, health_test: list[str], environ: dict[str, str]) -> None:
        self.service = service
        self.child = child
        self._health_test = health_test
        self._environ = environ

    def is_healthy(self) -> bool:
        """Whether the file's own health check says so; fails if the process has ended."""
        assert self.child.exit_code() is None, self.child.tail()
        return subprocess.run(self._health_test, env=self._environ, capture_output=True, check=False).returncode == 0

    def metrics(self) -> str:
        """What /metrics says."""
        host, port = (self._environ[f"FOOTFALL_METRICS_{part}"] for part in ("HOST", "PORT"))
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as reply:
            return str(reply.read().decode())

    def count(self, name: str) -> float:
        """One metric, summed over its labels."""
        lines = [line for line in self.metrics().splitlines() if not line.startswith("#")]
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


class Place:
    """Where things of the compose file are on this machine. `addresses` maps its host:port pairs to local ones."""

    def __init__(self, directory: Path, services: dict[str, Service], addresses: dict[str, str]) -> None:
        self._directory = directory
        self._services = services
        self.addresses = dict(addresses)

    def run_once(self, name: str, command: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        """Run a service to its end, as `docker compose run -e … NAME COMMAND` would; fails unless it ends with 0."""
        service = self._services[name]
        argv = [*service.argv[: -len(service.spec["command"])], *command] if command else service.argv
        done = subprocess.run(
            self._confined(service) + self._local(service, argv),
            env={**self._environ(service), **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    def start(self, name: str) -> Running:
        """Start a service that stays, with the rights that its container has."""
        service = self._services[name]
        environ = self._environ(service)
        if "FOOTFALL_METRICS_PORT" in environ:
            port = str(free_port())
            # Not the default of any command: one that were not told the host would not be found here.
            self.addresses[f"{name}:{environ['FOOTFALL_METRICS_PORT']}"] = f"127.0.0.2:{port}"
            environ |= {"FOOTFALL_METRICS_HOST": "127.0.0.2", "FOOTFALL_METRICS_PORT": port}
        argv = self._confined(service) + self._local(service, service.argv)
        child = Child(name, argv, self._directory / f"{name}.log", environ)
        child.start()
        return Running(service, child, self._local(service, service.health_test), environ)

    def path(self, service: Service, target: str) -> Path:
        """What a path in the container is here."""
        mount = next(mount for mount in service.mounts if target.startswith(mount.target))
        place = ROOT / mount.source if mount.is_bind else self._directory / "volumes" / mount.source
        if not mount.is_bind:
            place.mkdir(parents=True, exist_ok=True)
        return Path(f"{place}{target.removeprefix(mount.target)}")

    def local_text(self, service: Service, text: str) -> str:
        """The text with the container's addresses and mounted paths replaced by this machine's."""
        for address, here in self.addresses.items():
            text = text.replace(address, here)
        for mount in service.mounts:
            text = text.replace(mount.target, str(self.path(service, mount.target)))
        return text

    def _local(self, service: Service, argv: list[str]) -> list[str]:
        return [self.local_text(service, word) for word in argv]

    def _environ(self, service: Service) -> dict[str, str]:
        """What the container's process would see, with this environment's packages cut down to the image's."""
        image = service.dockerfile
        assert image is not None
        given = {name: self.local_text(service, value) for name, value in service.environment.items()}
        path = f"{Path(sys.executable).parent}:{os.defpath}"
        return {"PATH": path, "PYTHONPATH": str(ONLY_LOCKED), "ONLY_LOCKED": str(image.lock), **given}

    @staticmethod
    def _confined(service: Service) -> list[str]:
        """What takes root's capabilities away but those that the container has; nothing if this is not root."""
        if os.geteuid() != 0:
            return []
        assert service.spec["cap_drop"] == ["ALL"]
        rights = ",".join(["-all", *(f"+{name.lower()}" for name in service.spec.get("cap_add", []))])
        return ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={rights}"]
