"""The tiny pair and its bundle, which several files of tests look at."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.benchmarks.reference.cli import reference
from pocketcrafter.runtime.photo import Photo, encode

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def pair(latent_twin: Path) -> Path:
    return latent_twin


@pytest.fixture(scope="session")
def bundle(latent_bundle: Path) -> Path:
    return latent_bundle


@pytest.fixture(scope="session")
def photo() -> Photo:
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 255, 96 * 128 * 3).reshape(96, 128, 3)
    return Photo(np.clip(ramp[:, ::-1] * 0.7 + rng.normal(40, 20, ramp.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def record(pair: Path, photo: Photo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    encode(photo, folder / "photo.png")
    asked = ["record", str(pair), "--photos", str(folder / "photo.png"), "--out", str(folder / "pair.pcref")]
    reference.main(asked, standalone_mode=False)
    return folder / "pair.pcref"
