"""A small real store of frames, made once."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.train.critic import judge_store
from pocketcrafter.export.train.evidence import EvidenceStore, build_store

FRAMES = 24
SEED = 5


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
    return EvidenceStore.open(store_folder)


@pytest.fixture(scope="session")
def judged(store: EvidenceStore) -> Judgement:
    torch.manual_seed(0)
    return judge_store(Judge(), store, batch=32)
