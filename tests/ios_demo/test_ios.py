"""The Swift package agrees with Python: the same constants, the same answers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.vectors.swift import FOLDER, swift_sources

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ios_demo/PocketCrafterKit"
BUNDLE = ROOT / "build/default.pcbundle"
SKIPPED = 77


def test_the_constants_in_swift_and_metal_are_pythons() -> None:
    written = {name: (ROOT / FOLDER / name).read_text(encoding="utf-8") for name in swift_sources()}
    assert written == swift_sources(), "run: python -m pocketcrafter.runtime.vectors"
    generated = {str(path.relative_to(ROOT / FOLDER)) for path in (ROOT / FOLDER).rglob("Generated/*")}
    assert generated == set(swift_sources())


def test_the_core_imports_foundation_alone() -> None:
    sources = sorted((PACKAGE / "Sources/Core").rglob("*.swift"))
    assert len(sources) > 20
    modules = {name for path in sources for name in re.findall(r"^import (\S+)", path.read_text(), re.MULTILINE)}
    assert modules == {"Foundation", "Compression", "CryptoKit", "COpenSSL", "CZlib"}


def test_library_code_neither_forces_nor_traps() -> None:
    forced = re.compile(r"\btry!|\bas!|\bfatalError\(|\bpreconditionFailure\(|[\w)\]]!(?=[.\s)\],(\[]|$)")
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted((PACKAGE / "Sources").rglob("*.swift"))
        for line in path.read_text().splitlines()
        if forced.search(re.sub(r'"(?:\\.|[^"\\])*"|//.*', "", line))
    ]
    assert not found


def test_the_swift_tests_pass_on_this_machine() -> None:
    pair = ["--bundle", str(BUNDLE)] if BUNDLE.is_dir() else []
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, str(ROOT / "ios_demo/build.py"), "--no-setup", *pair],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"Executed \d+ tests, with 0 failures", done.stdout + done.stderr)
