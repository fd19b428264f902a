"""Stops a build from a checkout whose symbolic links came out as text files; all else stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup

_SOURCE = Path(__file__).parent / "src/pocketcrafter"

broken = [name for name in ("runtime", "quantize", "export", "benchmarks") if not (_SOURCE / name).is_dir()]
if broken:
    raise SystemExit(
        f"src/pocketcrafter/{', '.join(broken)}: no folder, so the package would be empty. These are symbolic links in "
        "the repository, and this checkout has none. On Windows, switch on Developer Mode, then check out anew: "
        "git config core.symlinks true && git checkout -- src"
    )

setup()
