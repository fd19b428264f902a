"""A small real store of frames, made once."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.critic import Critic, Judgement
from pocketcrafter.export.train.evidence import EvidenceStore, build_store
from pocketcrafter.export.train.tone import judge_store

FRAMES = 24
SEED = 5


@pytest.fixture(scope="session")
def backbone() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return MobileNetV2().state_dict()


@pytest.fixture(scope="session")
def store_folder(
    photos: list[Path], noise_profiles: Path, backbone: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("store")
    build_store(folder, photos, noise_profiles, backbone, FRAMES, SEED, processes=2)
    return folder


@pytest.fixture(scope="session")
def store(store_folder: Path) -> EvidenceStore:
    return EvidenceStore.open(store_folder)


@pytest.fixture(scope="session")
def judged(store: EvidenceStore, backbone: dict[str, Tensor]) -> Judgement:
    torch.manual_seed(0)
    critic = Critic()
    critic.backbone.load_state_dict(backbone)
    return judge_store(critic, store, torch.device("cpu"), batch=32)
