"""Fetches Apache Kafka's jars from Maven Central without Maven or Java, and checks every SHA-256 sum.

`jgo` resolves them as infra/kafka/jgo.lock.toml has it; the sums are checked here after every fetch.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

from footfall_events.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "infra" / "kafka" / "jgo.toml"
LOCK = ROOT / "infra" / "kafka" / "jgo.lock.toml"
HOME = ROOT / ".kafka"


def class_path(home: Path = HOME) -> str:
    """Java class path of the fetched jars; raises ConfigError if they are not there."""
    jars = _jars(home)
    if not jars:
        raise ConfigError([f"no Kafka jars in {home.name}/: run `make setup`"])
    return ":".join(map(str, jars))


def problems(home: Path, lock: Path = LOCK) -> list[str]:
    """Every jar of the lock that is missing or has another sum, and every jar that the lock does not name."""
    wanted = {}
    for entry in tomllib.loads(lock.read_text())["dependencies"]:
        classifier = f"-{entry['classifier']}" if entry.get("classifier") else ""
        wanted[f"{entry['artifactId']}-{entry['version']}{classifier}.jar"] = entry["sha256"]
    found = {path.name: path for path in _jars(home)}
    wrong = [f"{name}: missing" for name in sorted(wanted.keys() - found.keys())]
    wrong += [f"{name}: not in the lock" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != wanted[name]:
            wrong.append(f"{name}: its SHA-256 sum is not the lock's")
    return wrong


def _jars(home: Path) -> list[Path]:
    """jgo sorts jars into `jars/` and `modules/` of an environment; the class path wants both."""
    return sorted(path for part in ("jars", "modules") for path in (home / "envs").glob(f"**/{part}/*.jar"))


def fetch(home: Path = HOME) -> None:
    """Fetch what is missing; raises ConfigError naming every jar that is wrong afterwards."""
    if not problems(home):
        return
    home.mkdir(exist_ok=True)
    (home / "jgo.lock.toml").write_bytes(LOCK.read_bytes())
    command = [str(Path(sys.executable).parent / "jgo"), "-f", str(SPEC), "--cache-dir", str(home)]
    command += ["--repo-cache", str(home / "repository"), "--links", "copy", "--resolver", "python", "--quiet", "sync"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wrong = problems(home)
    if wrong:
        raise ConfigError([*(f"Kafka's jars: {problem}" for problem in wrong), done.stderr[-2000:]])


if __name__ == "__main__":
    try:
        fetch()
    except ConfigError as error:
        sys.exit("\n".join(error.problems))
