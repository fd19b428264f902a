"""What a user would pick instead: other automatic enhancements, each one call from a picture to a picture."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from PIL import Image, ImageOps
from skimage.exposure import equalize_adapthist

from pocketcrafter.benchmarks.quality.pictures import Peer
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.render import linear_to_srgb, srgb_to_linear

BEST_LOOK: Final = "perpetua"
"""The look with the lowest mean ΔE2000 on validation photos, by `pocketcrafter bench looks`."""


class PeerName(StrEnum):
    """The peers that need nothing but installed packages."""

    AUTOCONTRAST = "Pillow autocontrast"
    GRAY_WORLD_CLAHE = "gray world + CLAHE (scikit-image)"
    PILGRAM = "pilgram"


def autocontrast(picture: ByteImage) -> ByteImage:
    """Stretch each channel over the whole range, as `PIL.ImageOps.autocontrast` does by default."""
    return np.asarray(ImageOps.autocontrast(Image.fromarray(picture)))


def gray_world_clahe(picture: ByteImage) -> ByteImage:
    """Make the mean gray in linear light, then equalize value locally with scikit-image's defaults (CLAHE)."""
    linear = srgb_to_linear(picture.astype(np.float32) / np.float32(255))
    means = linear.mean((0, 1))
    balanced = linear_to_srgb(np.clip(linear * (means.mean() / np.maximum(means, 1e-6)), 0, 1))
    equalized = equalize_adapthist(balanced)
    return np.asarray(np.clip(np.rint(equalized * 255), 0, 255), dtype=np.uint8)


def pilgram_looks() -> dict[str, Peer]:
    """Return pilgram's looks by name.

    Raises
    ------
    BackendError
        If it is not installed.
    """
    try:
        import pilgram  # noqa: PLC0415 - only these peers need it
    except ImportError as error:
        raise BackendError("pilgram is not installed: pip install 'pocketcrafter[bench]'.") from error
    names = sorted(name for name in pilgram.__all__ if callable(getattr(pilgram, name)))
    return {name.removeprefix("_"): _Look(getattr(pilgram, name)) for name in names}


def installed_peers() -> Mapping[str, Peer]:
    """Return the peers of `PeerName`; pilgram stands there with the name of its best look.

    Raises
    ------
    BackendError
        If one is not installed.
    """
    return {
        PeerName.AUTOCONTRAST.value: autocontrast,
        PeerName.GRAY_WORLD_CLAHE.value: gray_world_clahe,
        f"{PeerName.PILGRAM} {BEST_LOOK}": pilgram_looks()[BEST_LOOK],
    }


class _Look:
    """One of pilgram's filters on arrays."""

    def __init__(self, apply: Callable[[Image.Image], Image.Image]) -> None:
        self._apply = apply

    def __call__(self, picture: ByteImage) -> ByteImage:
        return np.asarray(self._apply(Image.fromarray(picture)).convert("RGB"))
