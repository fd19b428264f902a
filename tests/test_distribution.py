"""The distribution: a checkout that cannot be built says why, and no module asks for what only some systems have."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pocketcrafter

SOURCE = Path(pocketcrafter.__file__).parent
ROOT = Path(__file__).parents[1]
PACKAGES = ("runtime", "quantize", "export", "benchmarks")
NOT_ON_WINDOWS = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


@pytest.mark.parametrize("made", ["wheel", "sdist", "editable"])
def test_a_checkout_without_symbolic_links_does_not_build(made: str, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "src/pocketcrafter"
    package.mkdir(parents=True)
    shutil.copy(SOURCE / "__init__.py", package)
    # As git leaves symbolic links where it cannot make any.
    for name in PACKAGES:
        (package / name).write_text(f"../../{name}")
    script = f"from setuptools import build_meta; build_meta.build_{made}('out')"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "src/pocketcrafter/runtime, quantize, export, benchmarks: no folder" in done.stderr
    assert "git config core.symlinks true" in done.stderr
    assert not list(tmp_path.glob("out/*"))


def test_modules_that_windows_lacks_are_imported_where_their_absence_is_handled() -> None:
    unguarded = []
    for path in (path for package in PACKAGES for path in (SOURCE / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            id(node)
            for guard in ast.walk(tree)
            if isinstance(guard, ast.Try) and guard.handlers
            for node in ast.walk(guard)
        }
        for node in ast.walk(tree):
            names = (
                {alias.name for alias in node.names}
                if isinstance(node, ast.Import)
                else {node.module}
                if isinstance(node, ast.ImportFrom)
                else set()
            )
            if names & NOT_ON_WINDOWS and id(node) not in guarded:
                unguarded.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert unguarded == []
