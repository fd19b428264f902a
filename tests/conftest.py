"""What tests of several packages share: a few real photos, and measurements of a camera and a lens."""

import importlib
import json
import platform
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
from hypothesis import HealthCheck, settings
from PIL import Image

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.bundle.reader import Bundle

# Wall-clock deadlines fail on a busy machine, and say nothing of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def avx2_python() -> tuple[str, ...]:
    """Python on an emulated processor with AVX2 and without VNNI, where 8-bit products saturate."""
    if platform.machine() != "x86_64":
        pytest.skip("the installed packages are not x86-64's")
    if (emulator := shutil.which("qemu-x86_64-static")) is None:
        pytest.skip("qemu-x86_64-static is missing: apt-get install qemu-user-static")
    return emulator, "-cpu", "Haswell", sys.executable


@pytest.fixture(scope="session")
def latent_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random pair of the latent family, of its libraries' own classes."""
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parent / "export/families/latent"))
    return Path(importlib.import_module("twin").save_pair(tmp_path_factory.mktemp("twin") / "pair"))


@pytest.fixture(scope="session")
def latent_bundle(latent_twin: Path) -> Path:
    """Its bundle, for two targets."""
    return _built(latent_twin)


@pytest.fixture(scope="session")
def layered_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of such a pair whose heads are 16 wide, so that its ``onnx`` graph has caches of each layer."""
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parent / "export/families/latent"))
    folder = tmp_path_factory.mktemp("layered") / "pair"
    bundle = _built(importlib.import_module("twin").save_pair(folder, head_width=16))
    opened = Bundle.open(bundle)
    graph = onnx.load(opened.artifact(opened.manifest.entry("language"), "onnx")).graph
    assert "keys.0" in {tensor.name for tensor in graph.input}
    return bundle


def _built(pair: Path) -> Path:
    out = pair.parent / "pair.pcbundle"
    asked = [option for target in ("onnx", "executorch-xnnpack") for option in ("--target", target)]
    assert cli.run(["build", str(pair), *asked, "--out", str(out), "--stages", str(out.parent / "stages")]) == 0
    return out


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three photos of at least 512 px on both sides, as PNG."""
    folder = tmp_path_factory.mktemp("photos")
    coffee = cv2.resize(skimage.data.coffee(), None, fx=1.4, fy=1.4, interpolation=cv2.INTER_CUBIC)
    pictures = {"astronaut": skimage.data.astronaut(), "coffee": coffee, "hubble": skimage.data.hubble_deep_field()}
    for name, pixels in pictures.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png", compress_level=1)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def camera_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what ``data prepare`` puts beside the photos.

    Two gains of one camera, beside noise profiles that must be skipped; two white-balance presets; a lens.
    """
    profiles = [
        {"name": "ISO 100", "iso": 100, "a": [4.5e-6, 2.2e-6, 3.2e-6], "b": [2.6e-8, 2.1e-8, 2.7e-8]},
        {"name": "ISO 3200", "iso": 3200, "a": [1.4e-4, 7.0e-5, 1.0e-4], "b": [2.6e-7, -1.1e-7, 2.7e-7]},
        {"name": "skipped", "iso": 1, "skip": True, "a": [1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0]},
        {"name": "no noise", "iso": 2, "a": [0.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0]},
    ]
    presets = [{"name": "Daylight", "channels": [2.0, 1, 1.5, 0]}, {"name": "Tungsten", "channels": [1.2, 1, 2.6, 0]}]
    lens = {"distortion": [0, -0.02, 0], "red": [0, 0, 1.0003], "blue": [0, 0, 0.9997], "vignetting": [-0.4, 0.1, 0]}
    folder = tmp_path_factory.mktemp("cameras")
    for name, content in {
        "noiseprofiles.json": {"noiseprofiles": [{"maker": "Acme", "models": [{"model": "1", "profiles": profiles}]}]},
        "wb_presets.json": {"wb_presets": [{"maker": "Acme", "models": [{"model": "1", "presets": presets}]}]},
        "lenses.json": [lens],
    }.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def noise_profiles(camera_data: Path) -> Path:
    """The noise profiles alone."""
    return camera_data / "noiseprofiles.json"
