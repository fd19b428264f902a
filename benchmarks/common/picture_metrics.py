"""How far a picture is from its clean self: PSNR, SSIM, CIEDE2000, and a distance of deep features."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError

LOSSLESS_DB: Final = 100.0
"""PSNR of pictures that are equal, so that means stay finite."""

BRISQUE_PACKAGES: Final = "pocketcrafter[brisque]"


class PictureFigures(Config):
    """One picture beside its clean self."""

    psnr_db: float = Field(description="Data range 255; 100 where the pictures are equal.")
    ssim: float = Field(description="Mean over channels, data range 255.")
    delta_e: float = Field(ge=0, description="Mean CIEDE2000 color difference.")
    feature_distance: float | None = Field(
        None, ge=0, description="Distance of unit-length ImageNet features; null where not measured."
    )
    brisque: float | None = Field(
        None, description="BRISQUE of the picture alone, lower is better; null where not measured."
    )


class FeatureDistance:
    """Mean L2 distance of unit-length MobileNetV2 ImageNet features, from 0 (equal) to 2.

    Parameters
    ----------
    weights
        Folded weights, as `imagenet_backbone` gives them.

    Notes
    -----
    At each of the six taps the channels of every position are scaled to unit length; the L2 distance is averaged over
    positions, then over taps. It has the form of learned perceptual metrics (Zhang et al., CVPR 2018) without their
    learned weights and backbones, and its figures cannot be compared with theirs.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        network = MobileNetV2()
        network.load_state_dict(dict(weights))
        self._network = channels_last(network.eval().requires_grad_(False))

    def features(self, picture: ByteImage) -> list[Tensor]:
        """Return the unit-length feature maps of an sRGB picture ``(H, W, 3)``, H and W ≥ 32."""
        batch = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().div_(255)
        with torch.no_grad():
            maps = self._network(batch.contiguous(memory_format=torch.channels_last))
        return [m / m.norm(dim=1, keepdim=True).clamp(min=1e-8) for m in maps]

    @staticmethod
    def between(first: list[Tensor], second: list[Tensor]) -> float:
        """Return the distance of two pictures' features."""
        distances = [(a - b).norm(dim=1).mean() for a, b in zip(first, second, strict=True)]
        return float(torch.stack(distances).mean())


class Brisque:
    """No-reference quality by BRISQUE (Mittal et al., TIP 2012): about 0 to 100, lower is better.

    Raises
    ------
    BackendError
        If its package is not installed.
    """

    def __init__(self) -> None:
        try:
            from brisque import BRISQUE  # noqa: PLC0415 - an extra of its own
        except ImportError as error:
            raise BackendError(
                f"BRISQUE needs packages that are not installed ({error.name}): pip install '{BRISQUE_PACKAGES}', "
                "or leave it out with --no-brisque."
            ) from error
        self._model = BRISQUE(url=False)

    def score(self, picture: ByteImage) -> float:
        """Return the score of an sRGB picture ``(H, W, 3)``."""
        with warnings.catch_warnings():
            # The package turns arrays of one element into numbers, which NumPy will forbid one day.
            warnings.simplefilter("ignore", DeprecationWarning)
            return float(self._model.score(picture))


@dataclass(frozen=True)
class Extras:
    """Metrics that need weights or packages of their own; those that are not given are left out."""

    features: FeatureDistance | None = None
    brisque: Brisque | None = None


class Reference:
    """A clean picture that others are compared with; what it costs to prepare is paid once.

    Parameters
    ----------
    clean
        sRGB uint8, shape ``(H, W, 3)``.
    extras
        What else to measure.
    """

    def __init__(self, clean: ByteImage, extras: Extras | None = None) -> None:
        self.clean = clean
        self._features = extras.features if extras else None
        self._brisque = extras.brisque if extras else None

    def figures(self, picture: ByteImage) -> PictureFigures:
        """Compare a picture of the same shape."""
        return PictureFigures(
            psnr_db=psnr_db(picture, self.clean),
            ssim=ssim(picture, self.clean),
            delta_e=self.delta_e(picture),
            feature_distance=self._feature_distance(picture),
            brisque=self._brisque.score(picture) if self._brisque else None,
        )

    def delta_e(self, picture: ByteImage) -> float:
        """Mean CIEDE2000 color difference of sRGB pictures (D65)."""
        return float(deltaE_ciede2000(rgb2lab(picture), self._lab).mean())

    @cached_property
    def _lab(self) -> npt.NDArray[np.float64]:
        return np.asarray(rgb2lab(self.clean))

    @cached_property
    def _clean_features(self) -> list[Tensor]:
        return self._features.features(self.clean) if self._features else []

    def _feature_distance(self, picture: ByteImage) -> float | None:
        if self._features is None:
            return None
        return self._features.between(self._features.features(picture), self._clean_features)


def psnr_db(picture: ByteImage, reference: ByteImage) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, data range 255; 100 where they are equal."""
    if np.array_equal(picture, reference):
        return LOSSLESS_DB
    return min(LOSSLESS_DB, float(peak_signal_noise_ratio(reference, picture, data_range=255)))


def ssim(picture: ByteImage, reference: ByteImage) -> float:
    """Structural similarity (Wang et al., TIP 2004) of 8-bit pictures, data range 255, mean over channels."""
    return float(structural_similarity(reference, picture, channel_axis=-1, data_range=255))
