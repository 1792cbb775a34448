"""Fetches Apache Kafka's jars from Maven Central without Maven or Java, and checks every SHA-256 sum.

`jgo` resolves them as infra/kafka/jgo.lock.toml has it; the sums are checked here after every fetch:
`python -m footfall_cli.kafka_jars fetch` fetches only what is not right already, `check` fetches nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from footfall_events.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "infra" / "kafka" / "jgo.lock.toml"
HOME = ROOT / ".kafka"


def class_path(home: Path = HOME) -> str:
    """Java class path of the fetched jars; raises ConfigError if they are not there."""
    jars = fetched(home)
    if not jars:
        raise ConfigError([f"no Kafka jars in {home.name}/: run `make setup`"])
    return ":".join(map(str, jars))


def problems(home: Path, lock: Path = LOCK) -> list[str]:
    """Every jar of the lock that is missing or has another sum, and every jar that the lock does not name."""
    wanted = {}
    for entry in tomllib.loads(lock.read_text())["dependencies"]:
        classifier = f"-{entry['classifier']}" if entry.get("classifier") else ""
        wanted[f"{entry['artifactId']}-{entry['version']}{classifier}.jar"] = entry["sha256"]
    found = {path.name: path for path in fetched(home)}
    wrong = [f"{name}: missing" for name in sorted(wanted.keys() - found.keys())]
    wrong += [f"{name}: not in the lock" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != wanted[name]:
            wrong.append(f"{name}: its SHA-256 sum is not the lock's")
    return wrong


def fetched(home: Path) -> list[Path]:
    """The jars that are there; jgo sorts them into `jars/` and `modules/`, and the class path wants both."""
    return sorted(path for part in ("jars", "modules") for path in (home / "envs").glob(f"**/{part}/*.jar"))


def fetch(home: Path = HOME, lock: Path = LOCK) -> None:
    """Fetch what is missing of a lock, beside which lies its `jgo.toml`.

    Raises ConfigError naming every jar that is wrong afterwards.
    """
    if not problems(home, lock):
        return
    # What an older lock left would stay on the class path; the downloads themselves are kept in repository/.
    shutil.rmtree(home / "envs", ignore_errors=True)
    home.mkdir(exist_ok=True)
    (home / "jgo.lock.toml").write_bytes(lock.read_bytes())
    spec = lock.with_name("jgo.toml")
    command = [str(Path(sys.executable).parent / "jgo"), "-f", str(spec), "--cache-dir", str(home)]
    command += ["--repo-cache", str(home / "repository"), "--links", "copy", "--resolver", "python"]
    # Sorting jars into class path and module path would need the `jar` tool of a JDK, which jgo would download.
    command += ["--class-path-only", "--quiet", "sync"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wrong = problems(home, lock)
    if wrong:
        raise ConfigError([*(f"Kafka's jars: {problem}" for problem in wrong), done.stderr[-2000:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if every jar is there with its sum, else 1 with each problem on stderr."""
    parser = argparse.ArgumentParser(prog="python -m footfall_cli.kafka_jars", description=__doc__)
    parser.add_argument("action", choices=["fetch", "check"])
    parser.add_argument("--home", type=Path, default=HOME, help="where the jars are (default: .kafka)")
    options = parser.parse_args(arguments)
    try:
        if options.action == "fetch":
            fetch(options.home)
        found = problems(options.home)
    except ConfigError as error:
        found = error.problems
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
