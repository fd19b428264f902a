"""The package: what its wheels hold, and which versions it asks for."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from pocketcrafter.runtime.errors import ConfigError

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src/pocketcrafter"
SHIPPED_APART = ("export/weights", "export/calibration/photos")
NOT_SOURCE = {"build", "dist", "data", "runs"}
MOST_BYTES = 2_000_000
ENHANCE = """
import sys
import pocketcrafter as pc

bundle, photo, out = sys.argv[1:]
pc.Pipeline.open(bundle).enhance(photo).save(out)
print(pc.__version__, pc.__file__, *[name for name in ("torch", "onnx", "scipy", "yaml") if name in sys.modules])
"""


def pip(*words: object) -> None:
    """Run pip; skip where it cannot fetch what it needs."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "0", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if "No matching distribution found" in done.stderr:
        pytest.skip("pip cannot fetch packages: there is no network, or no package index")
    assert done.returncode == 0, done.stderr


def wheel_of(folder: Path, out: Path) -> Path:
    """Build a wheel as people do."""
    pip("wheel", "--no-deps", "--wheel-dir", out, folder)
    (wheel,) = out.iterdir()
    return wheel


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build from, as builds leave folders behind."""
    copy = tmp_path_factory.mktemp("checkout") / "pocketcrafter"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_dir() and path.name not in NOT_SOURCE and not path.name.startswith("."):
            made = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
            shutil.copytree(path, copy / path.name, symlinks=True, ignore=made)
        elif path.is_file():
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(checkout, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_and_no_weights(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = {
            name.removeprefix("pocketcrafter/") for name in archive.namelist() if name.startswith("pocketcrafter/")
        }
    modules = {
        path.relative_to(SOURCE).as_posix()
        for top in (SOURCE, *(folder for folder in SOURCE.iterdir() if folder.is_dir()))
        for path in (top.rglob("*.py") if top != SOURCE else top.glob("*.py"))
    }
    assert {name for name in names if name.endswith(".py")} == modules
    assert {"py.typed", "runtime/bundle/manifest.schema.json", "export/recipes/default.yaml"} <= names
    assert [name for name in names if name.startswith(SHIPPED_APART)] == []
    assert {Path(name).suffix for name in names} & {".safetensors", ".jpg", ".md"} == set()


def test_weights_and_calibration_photos_are_a_wheel_of_their_own(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel_of(checkout / "export/weights", tmp_path)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    shipped = {path for folder in SHIPPED_APART for path in (SOURCE / folder).rglob("*") if path.is_file()}
    expected = {f"pocketcrafter/{path.relative_to(SOURCE).as_posix()}" for path in shipped if path.suffix != ".toml"}
    assert names == expected
    assert "pocketcrafter/export/weights/critic.safetensors" in names


def test_the_wheel_alone_in_a_new_environment_enhances_a_photo(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    pip("--python", python, "install", "--constraint", ROOT / "constraints.txt", wheel)
    photo, out = ROOT / "tests/photos/bridge_dim_and_cool.jpg", tmp_path / "enhanced.jpg"
    done = subprocess.run(  # noqa: S603 - our own words
        [python, "-I", "-c", ENHANCE, bundle, photo, out], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    version, place, *unwanted = done.stdout.split()
    assert version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert Path(place).is_relative_to(tmp_path)
    assert unwanted == []
    assert np.asarray(Image.open(out)).mean() > np.asarray(Image.open(photo)).mean() + 5


def requirements(extra: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = map(Requirement, project["optional-dependencies"][extra])
    return [requirement for requirement in found if requirement.name != "pocketcrafter"]


EXTRAS = tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_ask_for_ranges_that_hold_the_versions_tested_together(extra: str) -> None:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for requirement in requirements(extra):
        operators = sorted(part.operator for part in requirement.specifier)
        assert operators == ["<", ">="], (
            f"{requirement}: give the oldest version that will do, and the first that will not"
        )
        version = tested.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version), f"{requirement}: {version} was tested"


def test_a_build_from_the_wheel_alone_says_how_to_get_the_weights(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", "from pocketcrafter.runtime.cli import main; main()", "build", "--out", "b.pcbundle"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ConfigError.exit_code, done.stderr
    assert "pip install pocketcrafter-weights" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b.pcbundle").exists()
