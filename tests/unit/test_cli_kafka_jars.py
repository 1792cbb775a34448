"""What counts as a jar of the lock, and what does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from footfall_cli.kafka_jars import class_path, main, problems
from footfall_events.errors import ConfigError

_JARS = {"jars": ("broker", b"one"), "modules": ("logger", b"two")}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock of two jars."""
    lines = []
    for name, content in _JARS.values():
        lines += ["[[dependencies]]", f'artifactId = "{name}"', 'version = "1.0"']
        lines.append(f'sha256 = "{hashlib.sha256(content).hexdigest()}"')
    path = tmp_path / "lock.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Both jars where jgo puts them."""
    for folder, (name, content) in _JARS.items():
        place = tmp_path / "home" / "envs" / "digest" / folder
        place.mkdir(parents=True)
        (place / f"{name}-1.0.jar").write_bytes(content)
    return tmp_path / "home"


def test_jars_with_the_sums_of_the_lock_are_right(home: Path, lock: Path) -> None:
    assert problems(home, lock) == []
    assert class_path(home).count(".jar") == 2


def test_a_missing_a_changed_and_a_stray_jar_are_each_named(home: Path, lock: Path) -> None:
    (home / "envs/digest/jars/broker-1.0.jar").unlink()
    (home / "envs/digest/modules/logger-1.0.jar").write_bytes(b"other")
    (home / "envs/digest/jars/stray-2.jar").write_bytes(b"")
    assert problems(home, lock) == [
        "broker-1.0.jar: missing",
        "stray-2.jar: not in the lock",
        "logger-1.0.jar: its SHA-256 sum is not the lock's",
    ]


def test_without_jars_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make setup"):
        class_path(tmp_path)


def test_the_check_fails_on_an_empty_directory_and_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--home", str(tmp_path)]) == 1
    assert "kafka_2.13-4.4.0.jar: missing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_jars_of_this_checkout_have_the_sums_of_its_lock() -> None:
    assert main(["check"]) == 0
