"""The Metal shader's own function, compiled as C++, develops as Python does."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.pocket import GRID
from pocketcrafter.runtime.render import channel_curves
from pocketcrafter.runtime.vectors.pictures import PLANS, picture, steep_grid

ROOT = Path(__file__).resolve().parents[2]
SHADERS = ROOT / "ios_demo/App/Shaders"
HERE = Path(__file__).with_name("shader")

Developer = Callable[[int, FloatArray | None], tuple[FloatArray, FloatArray]]


@pytest.fixture(scope="module")
def shader(tmp_path_factory: pytest.TempPathFactory) -> Developer:
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("shader")
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{SHADERS}", f"-I{HERE}"]
    subprocess.run([compiler, *options, HERE / "develop.cpp", "-o", folder / "develop"], check=True)  # noqa: S603

    def developed(plan: int, grid: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        pixels, edit = picture(24, 36, 2), PLANS[plan]
        levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        tables = np.ascontiguousarray(channel_curves(edit, levels).T, np.float32)
        head = struct.pack("<IIfIf", 36, 24, 1 + edit.saturation, grid is not None, 0.0)
        grid_bytes = np.zeros(GRID, np.float32) if grid is None else grid
        (folder / "in").write_bytes(head + tables.tobytes() + grid_bytes.tobytes() + pixels.tobytes())
        subprocess.run([folder / "develop", folder / "in", folder / "out"], check=True)  # noqa: S603
        found = np.frombuffer((folder / "out").read_bytes(), np.float32).reshape(24, 36, 3)
        return found, develop(pixels, edit, grid).astype(np.float32) / 255

    return developed


@pytest.mark.parametrize("plan", range(len(PLANS)))
@pytest.mark.parametrize("with_grid", [False, True])
def test_the_shader_develops_as_python_does(shader: Developer, plan: int, *, with_grid: bool) -> None:
    found, expected = shader(plan, steep_grid(3) if with_grid else None)
    assert np.abs(found - expected).max() <= 0.5 / 255 + 1e-4
