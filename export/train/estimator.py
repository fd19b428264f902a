"""Training the estimator end to end, on small frames that are drawn anew at every step.

It knows the amounts of the photos that it was trained on (R² 0.58 where unseen photos have 0.49). What judges its
estimates must not learn to trust them more than a user's photos allow, so that siblings stand in for it there.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.sampling import cut_square, degrade_small, draw_faults
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.estimator import ESTIMATED, QUANTILES, SMALL_VIEW_PX, Estimator
from pocketcrafter.export.train.drawn_photos import DrawnPhotos
from pocketcrafter.export.train.evidence import FRAME_PX, to_batch
from pocketcrafter.export.train.fit import FitSettings, quantile_loss
from pocketcrafter.runtime.plan import Attribute

ESTIMATOR_STEPS: Final = 4000
_FRAMES: Final = 48
_MOSAICS: Final = 0.8
_SEAMS: Final = (0.3, 0.7)
"""Where a mosaic's seams lie, as a share of its side."""
_REDUCED: Final = 3
"""How many times smaller photos are kept; still twice the view, so that it is always reduced from them."""
_PRESENCE_WEIGHT: Final = 0.1
_QUANTILE_WEIGHT: Final = 0.2
_BACKBONE_SHARE: Final = 0.3
"""Of the learning rate: what ImageNet taught is changed, not overwritten."""
_MEASURED_FRAMES: Final = 512
_MEASURED_PLANS: Final = 4096
"""From which standardization is measured."""
PLACES: Final = [list(Attribute).index(a) for a in ESTIMATED]
"""Of the estimated amounts in a plan vector."""


class SmallFrames(DrawnPhotos):
    """Degraded small views and their amounts; arguments as in `DrawnPhotos`.

    Most views are mosaics, parts of two or three photos with the same faults: how a photo looks without them can be
    learnt by heart, how any two do hardly (CutMix: Yun et al., ICCV 2019; mosaics: Bochkovskiy et al., 2020).
    """

    def __init__(self, photos: Sequence[Path], data: Path) -> None:
        super().__init__(photos, data, _read_reduced)
        self._taken = np.arange(len(photos))

    def without(self, left_out: npt.NDArray[np.bool_]) -> "SmallFrames":
        """Return the same without some photos, which stay in memory once.

        Parameters
        ----------
        left_out
            Of each photo, ``(N,)``.
        """
        others = copy(self)
        others._taken = np.flatnonzero(~left_out)
        return others

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return small views, float32 ``(count, 3, 85, 85)``, and amounts in plan-vector units ``(count, 6)``."""
        squares = [self._mosaic(rng) if rng.random() < _MOSAICS else self._square(rng) for _ in range(count)]
        share = SMALL_VIEW_PX / FRAME_PX
        frames = [degrade_small(square, share, rng, self.noise, self.realism) for square in squares]
        amounts = np.stack([frame.plan.vector()[PLACES] for frame in frames]).astype(np.float32)
        return to_batch(np.stack([frame.degraded for frame in frames])), torch.from_numpy(amounts)

    def _square(self, rng: np.random.Generator) -> ByteImage:
        photo = self.photos[rng.choice(self._taken)]
        return cut_square(photo, SMALL_VIEW_PX, rng, smallest_px=FRAME_PX // _REDUCED)

    def _mosaic(self, rng: np.random.Generator) -> ByteImage:
        made = self._square(rng)
        for _ in range(int(rng.integers(1, 3))):
            other, seam = self._square(rng), round(float(rng.uniform(*_SEAMS)) * SMALL_VIEW_PX)
            part = np.s_[:, seam:] if rng.random() < 0.5 else np.s_[seam:]
            made[part] = other[part]
        return made

    def spread(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return the standard deviation of each amount over ``count`` drawn plans, ``(6,)``."""
        plans = [draw_faults(rng, self.noise, realism=self.realism).plan.vector()[PLACES] for _ in range(count)]
        return np.asarray(np.std(plans, axis=0), dtype=np.float32)


def _read_reduced(path: Path) -> ByteImage:
    photo = read_pixels(path)
    height, width = photo.shape[:2]
    small = cv2.resize(photo, (width // _REDUCED, height // _REDUCED), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


class EstimatorTask:
    """Expectation, presence and quantiles of each amount.

    Parameters
    ----------
    model
        The network; its standardization is set here.
    frames
        Draws what it learns from.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(self, model: Estimator, frames: SmallFrames, settings: FitSettings, device: torch.device) -> None:
        self.frames, self.settings, self.device = frames, settings, device
        rng = np.random.default_rng(settings.seed)
        self.scale = torch.from_numpy(frames.spread(_MEASURED_PLANS, rng)).to(device)
        with torch.no_grad():
            features = model.eval().features(frames.draw(_MEASURED_FRAMES, rng)[0])
        model.center.copy_(features.mean(0))
        model.spread.copy_(features.std(0) + 1e-3)
        self.model: Estimator = channels_last(model.requires_grad_(requires_grad=True), device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the backbone at a share of the learning rate."""
        backbone = list(self.model.backbone.parameters())
        known = {id(p) for p in backbone}
        return [(_BACKBONE_SHARE, backbone), (1.0, [p for p in self.model.parameters() if id(p) not in known])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of new frames."""
        rng = np.random.default_rng([self.settings.seed, step])
        views, amounts = (t.to(self.device) for t in self.frames.draw(self.settings.batch, rng))
        said = self.model.estimate(views).float().reshape(len(views), -1, len(ESTIMATED))
        truth = amounts / self.scale
        losses = {
            "amounts": F.smooth_l1_loss(said[:, 0], truth),
            "presence": _PRESENCE_WEIGHT * F.binary_cross_entropy_with_logits(said[:, 1], (amounts != 0).float()),
            "quantiles": _QUANTILE_WEIGHT * quantile_loss(said[:, 2:].transpose(1, 2), truth, QUANTILES),
        }
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(part.detach()) for name, part in losses.items()}


def estimator_settings(steps: int, seed: int) -> FitSettings:
    """Return how an estimator is trained."""
    return FitSettings(steps=steps, batch=_FRAMES, learning_rate=1e-3, weight_decay=0.05, ema=0.995, seed=seed)


def new_estimator(backbone: Mapping[str, Tensor]) -> Estimator:
    """Return an untrained estimator with the weights of a `MobileNetV2` of all taps."""
    model = Estimator()
    model.backbone.take(backbone)
    return model
