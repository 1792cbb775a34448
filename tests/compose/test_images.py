"""The images, checked without an engine: what goes into each, from which lock, and that it is enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.compose_file import ROOT
from tests.compose.dockerfile import Dockerfile, is_ignored, locked, read_dockerfile

ONLY_LOCKED = Path(__file__).parent / "only_locked"
STAGES = {name: read_dockerfile(ROOT / name / "Dockerfile") for name in ("collectors", "streams", "sinks")}
FOREIGN = {
    "collectors": {"faust-streaming", "aiokafka", "clickhouse-connect", "chdb"},
    "streams": {"scapy", "clickhouse-connect", "chdb"},
    "sinks": {"scapy", "faust-streaming", "aiokafka", "chdb"},
}

every_stage = pytest.mark.parametrize("image", STAGES.values(), ids=STAGES.keys())


@every_stage
def test_a_lock_is_a_part_of_the_whole_with_the_same_versions(image: Dockerfile) -> None:
    assert locked(image.lock).items() <= locked(ROOT / "requirements.lock").items()


@every_stage
def test_a_lock_is_what_its_extra_needs_and_what_builds_it(image: Dockerfile) -> None:
    """As far as the installed packages say it of themselves; a build by pip insists on the same."""
    needed: set[str] = set()
    open_ends = [Requirement(f"footfall[{image.path.parent.name}]")]
    while open_ends:
        wanted = open_ends.pop()
        for text in requires(wanted.name) or []:
            found = Requirement(text)
            extras = wanted.extras or {""}
            name = canonicalize_name(found.name)
            if name not in needed and any(not found.marker or found.marker.evaluate({"extra": e}) for e in extras):
                needed.add(name)
                open_ends.append(found)
    assert locked(image.lock).keys() == needed | {"setuptools"}


@every_stage
def test_a_lock_holds_none_of_the_other_stages_clients(image: Dockerfile) -> None:
    assert FOREIGN[image.path.parent.name].isdisjoint(locked(image.lock))


LOCKS = {"whole": ROOT / "requirements.lock", **{name: image.lock for name, image in STAGES.items()}}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())
def test_a_lock_holds_versions_and_sums_and_nothing_else(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert locked(lock)
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry[:80]


@every_stage
def test_an_image_is_built_from_its_own_lock_for_the_python_that_the_locks_are_made_for(image: Dockerfile) -> None:
    made_for = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert made_for
    for stage in image.stages:
        assert re.fullmatch(rf"python:{made_for[1]}-slim-\w+( AS build)?", stage[0].text)
    assert (f"{image.path.parent.name}/requirements.lock", "./") in image.copied()
    installs = [text for text in image.texts("RUN") if text.startswith("pip install")]
    assert len(installs) == 2
    assert "--only-binary :all: --require-hashes -r requirements.lock" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


@every_stage
def test_an_image_runs_as_nobody_in_particular(image: Dockerfile) -> None:
    users = [line.text for line in image.stages[-1] if line.name == "USER"]
    assert users == ["footfall"]
    assert any("useradd --system --uid 10001" in text for text in image.texts("RUN"))


@every_stage
def test_everything_copied_reaches_the_build(image: Dockerfile) -> None:
    for source, _ in image.copied():
        assert (ROOT / source).exists(), source
        assert not is_ignored(source, _ignore_patterns()), source


@pytest.mark.parametrize("path", [".env", ".git/config", "key.toml", "day1.pcap", "tests/captures.py", "infra/compose"])
def test_nothing_else_does(path: str) -> None:
    assert is_ignored(path, _ignore_patterns())


@every_stage
def test_what_is_copied_is_enough_to_build_the_whole_distribution(image: Dockerfile, tmp_path: Path) -> None:
    context = tmp_path / "src"
    for source, target in image.copied():
        place = context / (target if not target.endswith("/") else f"{target}{Path(source).name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, place)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(context)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("footfall-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for package in ROOT.glob("*/footfall_*"):
        for path in [*package.rglob("*.py"), *package.rglob("*.sql")]:
            assert str(path.relative_to(package.parent)) in inside


@pytest.mark.parametrize(
    ("stage", "command", "missing"),
    [
        pytest.param("collectors", "collect", "", id="a sensor collects"),
        pytest.param("collectors", "keys", "", id="and makes its key"),
        pytest.param("collectors", "stream", "faust", id="and is no worker"),
        pytest.param("collectors", "sink", "clickhouse_connect", id="and no sink"),
        pytest.param("streams", "stream", "", id="a worker streams"),
        pytest.param("streams", "topics", "", id="and makes the topics"),
        pytest.param("streams", "sink", "clickhouse_connect", id="and is no sink either"),
        pytest.param("streams", "estimate", "clickhouse_connect", id="and estimates nobody"),
        pytest.param("sinks", "sink", "", id="a sink writes"),
        pytest.param("sinks", "schema", "", id="and makes the tables"),
        pytest.param("sinks", "estimate", "", id="and its image estimates people"),
        pytest.param("sinks", "calibrate", "", id="and calibrates"),
        pytest.param("sinks", "stream", "faust", id="and is no worker either"),
    ],
)
def test_an_image_has_what_its_commands_import_and_no_more(stage: str, command: str, missing: str) -> None:
    environ = {"PYTHONPATH": str(ONLY_LOCKED), "ONLY_LOCKED": str(STAGES[stage].lock)}
    argv = [sys.executable, "-m", "footfall_cli.main", command, "--help"]
    done = subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if missing else 0), done.stderr
    assert f"needs the package {missing}:" in done.stderr if missing else f"footfall {command}" in done.stdout


def test_every_hook_before_a_commit_is_a_target_of_the_makefile_and_fetches_nothing() -> None:
    (source,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert source["repo"] == "local"
    assert {hook["language"] for hook in source["hooks"]} == {"system"}
    assert [hook["entry"].removeprefix("make ") for hook in source["hooks"]] == ["lint", "types"]
    assert {"lint", "types", "lock"} <= known


def _ignore_patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
