"""The Kotlin core agrees with Python: the same constants, the same answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.vectors.kotlin import FOLDER, kotlin_sources

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "build/default.pcbundle"
SKIPPED = 77


def test_the_constants_in_kotlin_are_pythons() -> None:
    written = {name: (ROOT / FOLDER / name).read_text(encoding="utf-8") for name in kotlin_sources()}
    assert written == kotlin_sources(), "run: python -m pocketcrafter.runtime.vectors.kotlin"
    assert {path.name for path in (ROOT / FOLDER).rglob("generated/*")} == {
        Path(name).name for name in kotlin_sources() if "/generated/" in name
    }


def test_the_core_imports_nothing_of_android() -> None:
    sources = sorted((ROOT / FOLDER / "kotlin").rglob("*.kt"))
    assert len(sources) > 20
    packages = {line.split()[1] for path in sources for line in path.read_text().splitlines() if line[:7] == "import "}
    assert not [name for name in packages if not name.startswith(("org.pocketcrafter.core.", "java.", "kotlin."))]


def test_the_kotlin_tests_pass_on_this_machine() -> None:
    pair = ["--bundle", str(BUNDLE)] if BUNDLE.is_dir() else []
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, str(ROOT / "android_demo/build.py"), *pair], capture_output=True, text=True, check=False
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "\nOK (" in done.stdout
