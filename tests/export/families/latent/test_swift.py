"""The tiny pair in Swift: answers and pictures are Python's, every golden reaches its gate."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.photo import Photo, encode

ROOT = Path(__file__).resolve().parents[4]
SKIPPED = 77


def test_the_swift_package_runs_the_pair_as_python_does(layered_bundle: Path, photo: Photo, tmp_path: Path) -> None:
    """With caches of each layer; as one tensor they are any network's inputs and outputs."""
    encode(photo, tmp_path / "photo.jpg")
    asked = ["--no-setup", "--bundle", str(layered_bundle), "--photos", str(tmp_path)]
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, str(ROOT / "ios_demo/build.py"), *asked], capture_output=True, text=True, check=False
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-4000:]
    assert "testEveryGoldenOfEveryFunctionReachesItsGate' passed" in printed
    compared = re.findall(r"PSNR (\S+) dB to Python's, critique identical", printed)
    assert len(compared) == 3
    assert min(map(float, compared)) >= 40
