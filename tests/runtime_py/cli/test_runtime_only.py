"""An installation of the runtime alone: what it says of itself, and of the commands that it lacks packages for."""

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

import pocketcrafter
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@pytest.fixture(scope="module")
def runtime_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the runtime's requirements, and what those require, and nothing else."""
    folder = tmp_path_factory.mktemp("site-packages")
    wanted, found = ["pocketcrafter"], set()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        wanted += [match[0] for text in requires(name) or [] if ";" not in text and (match := _NAME.match(text))]
        tops = {file.parts[0] for file in distribution(name).files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (folder / top).exists() and not top.startswith("__editable__"):
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    if not (folder / "pocketcrafter").exists():
        (folder / "pocketcrafter").symlink_to(Path(pocketcrafter.__file__).parent)
    return folder


def call(runtime_only: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Without site-packages (-S) the standard library is all there is.
    script = (
        f"import sys; sys.path.insert(0, {str(runtime_only)!r}); from pocketcrafter.runtime.cli import main; main()"
    )
    command = [sys.executable, "-SIc", script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words


def test_no_target_can_be_built_without_what_builds_it(runtime_only: Path) -> None:
    done = call(runtime_only, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {extra["name"]: not extra["missing"] for extra in told["extras"]}["runtime"]
    reasons = {target["name"]: target["reason"] for target in told["targets"]}
    assert len(reasons) > 10
    for name, reason in reasons.items():
        assert (TARGETS[TargetKind(name)].awaits or "pip install 'pocketcrafter[build]'") in reason
    runs = {backend["name"]: backend["reason"] for backend in told["backends"]}
    assert [name for name, reason in runs.items() if reason is None] == ["onnxruntime"]


@pytest.mark.parametrize(
    "words", [("train", "critic"), ("build",), ("distill", "equalize", "--out", "x")], ids=" ".join
)
def test_what_lacks_its_packages_says_how_to_install_them(runtime_only: Path, words: tuple[str, ...]) -> None:
    assert call(runtime_only, *words, "--help").returncode == 0
    done = call(runtime_only, *words)
    assert done.returncode == 2
    assert "pip install 'pocketcrafter[build]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_tells_what_must_be_installed_first(runtime_only: Path) -> None:
    done = call(runtime_only, "--help")
    assert "\nUse a bundle:\n" in done.stdout
    assert "\nTrain networks (pip install 'pocketcrafter[build]'):\n" in done.stdout
