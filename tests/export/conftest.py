"""A small real store of frames, made once."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pocketcrafter.export.data.manifest import MANIFEST_NAME, Manifest, PhotoRecord, Split
from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.models.estimator import Estimator
from pocketcrafter.export.train.critic import judge_store
from pocketcrafter.export.train.estimates import estimates_of
from pocketcrafter.export.train.evidence import EvidenceStore, build_store

FRAMES = 24
SEED = 5


@pytest.fixture(scope="session")
def prepared_photos(photos: list[Path], camera_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``data prepare`` leaves it."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(camera_data, folder)
    (folder / "train").mkdir()
    records = []
    for index, photo in enumerate(photos):
        shutil.copy(photo, folder / "train")
        digest = hashlib.sha256(photo.read_bytes()).hexdigest()
        with Image.open(photo) as image:
            width, height = image.size
        records.append(
            PhotoRecord(
                file=f"train/{photo.name}",
                source="scikit-image",
                group=str(index),
                licence="CC0-1.0",
                author=f"Author {index}",
                original=photo.name,
                original_sha256=digest,
                prepared_sha256=digest,
                split=Split.TRAIN,
                width=width,
                height=height,
                scale=1.0,
            )
        )
    (folder / MANIFEST_NAME).write_text(Manifest(recipe_version=1, records=tuple(records)).model_dump_json())
    return folder


@pytest.fixture(scope="session")
def backbone() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return MobileNetV2().state_dict()


@pytest.fixture(scope="session")
def store_folder(
    photos: list[Path], camera_data: Path, backbone: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("store")
    build_store(folder, photos, camera_data, backbone, FRAMES, SEED, processes=2)
    return folder


@pytest.fixture(scope="session")
def store(store_folder: Path) -> EvidenceStore:
    torch.manual_seed(0)
    frames = EvidenceStore.open(store_folder)
    return frames.with_estimates(estimates_of(Estimator(), frames, np.arange(FRAMES)))


@pytest.fixture(scope="session")
def judged(store: EvidenceStore) -> Judgement:
    torch.manual_seed(0)
    return judge_store(Judge(), store, batch=32)
