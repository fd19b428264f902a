"""Training the composition network end to end: tilts by votes, framing by which of two crops the photographer chose.

Frames are drawn anew at every step, in pairs of one photo, one tilt and one size: the first is centered, as the
photographer framed it, the other is shifted. Both are cut and resampled alike, so that neither size nor softness nor a
photo's border tells them apart. The only labels are the photographer's framing and level, which are taken as good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
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
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.composition import Composition, moments_inside
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed
from pocketcrafter.runtime.plan import CropBox

COMPOSITION_STEPS: Final = 6000
_GROUPS: Final = 24
GROUP: Final = 2
MAX_TILT_DEGREES: Final = 8.0
_COPY_PX: Final = 384
"""Longer side of the copies that frames are cut from."""
_BORDER: Final = 0.02
"""Share of a photo that no frame shows: frames, vignettes and scan lines would tell the shifted ones."""
_SCALES: Final = (0.7, 0.9)
_SHIFTS: Final = (0.5, 1.0)
_ASPECTS: Final = (1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9)
RIGHT_DEGREES: Final = 1.5
"""The error under which an answer counts as right: what the confidence is the probability of."""
_VOTE_SIGMA: Final = 0.8
"""Degrees."""
_POOL: Final = 2
"""Views are trained on at half their sides, in a quarter of the time; steps at the whole size made nothing better."""
_BACKBONE_SHARE: Final = 0.4
"""Of the learning rate: what ImageNet taught is changed, not overwritten."""
_KEPT_OUT: Final = 10
"""One of so many photographers is kept for learning how sure an answer is."""
_MEASURED_GROUPS: Final = 128
"""From which standardization is measured."""
_SURE_BATCHES: Final = 40
_NEWTON_STEPS: Final = 12


@dataclass(frozen=True)
class FramedView:
    """One frame.

    Attributes
    ----------
    pixels
        uint8, ``(H, W, 3)``.
    tilt_degrees
        The clockwise turn that would level it.
    shift
        How far its center lies from the photographer's, as a share of the room there was; ``(0, 0)`` is centered.
    """

    pixels: ByteImage
    tilt_degrees: float
    shift: tuple[float, float]


def draw_group(working: ByteImage, rng: np.random.Generator) -> list[FramedView]:
    """Cut the `GROUP` frames of a group from a photo's working copy."""
    picture = np.ascontiguousarray(working[:, ::-1]) if rng.random() < 0.5 else working
    level = rng.random() < 0.3
    tilt = float(np.clip(rng.normal(0, 1), -3, 3) if level else rng.uniform(-MAX_TILT_DEGREES, MAX_TILT_DEGREES))
    height, width = picture.shape[:2]
    whole = inscribed_box(width, height, tilt)
    room = [(1 - 2 * _BORDER) * side for side in (whole.right - whole.left, whole.bottom - whole.top)]
    size = _size(room, rng)
    frames = []
    for index in range(GROUP):
        shift = np.zeros(2) if index == 0 else _shift(rng)
        left, top = (
            side / 2 + shift[axis] * (room[axis] - size[axis]) / 2 - size[axis] / 2
            for axis, side in enumerate((width, height))
        )
        box = CropBox(left=round(left), top=round(top), right=round(left + size[0]), bottom=round(top + size[1]))
        pixels = _lit(cut(picture, box, -tilt), rng)
        frames.append(FramedView(pixels, tilt, (float(shift[0]), float(shift[1]))))
    return frames


def _size(room: Sequence[float], rng: np.random.Generator) -> tuple[float, float]:
    """Draw a size that leaves room to shift, of the photo's aspect or of a common one."""
    aspect = room[0] / room[1]
    if rng.random() < 0.5:
        chosen = float(rng.choice(_ASPECTS))
        aspect = chosen if aspect >= 1 else 1 / chosen
    width = min(room[0], room[1] * aspect)
    scale = rng.uniform(*_SCALES)
    return width * scale, width / aspect * scale


def _shift(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    direction = rng.uniform(-1, 1, 2)
    shift: npt.NDArray[np.float64] = direction / np.abs(direction).max() * rng.uniform(*_SHIFTS)
    return shift


def _lit(pixels: ByteImage, rng: np.random.Generator) -> ByteImage:
    """Apply a random brightness ramp and vignette to a frame, whose own vignette would reveal the photo's center."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    center = rng.uniform(-1, 1, 2)
    radius = (x - center[0]) ** 2 + (y - center[1]) ** 2
    stops = rng.uniform(-0.3, 0.3) + rng.normal(0, 0.12) * x + rng.normal(0, 0.12) * y - rng.uniform(-0.1, 0.2) * radius
    lit: ByteImage = np.clip(pixels * np.exp2(stops)[..., None], 0, 255).astype(np.uint8)
    return lit


class CompositionFrames:
    """Small copies of photos in memory, and frames cut from them.

    Parameters
    ----------
    photos
        sRGB photos.
    photographers
        Of each photo.

    Raises
    ------
    ConfigError
        If all photos are of one photographer: none is left to learn on how sure an answer is.
    """

    def __init__(self, photos: Sequence[Path], photographers: Sequence[str]) -> None:
        first = {name: sha256(name.encode()).digest()[0] for name in photographers}
        kept_out = {name for name, byte in first.items() if byte % _KEPT_OUT == 0} or {
            min(first, key=first.__getitem__)
        }
        if len(kept_out) == len(first):
            raise ConfigError(
                "Photos of several photographers are needed: how sure the network is, is learnt on those whose photos "
                "it was not trained on; prepare photos of others too with `pocketcrafter data prepare`."
            )
        self._kept_out = np.array([name in kept_out for name in photographers])
        self._copies = [_small_copy(path) for path in photos]

    def draw(self, groups: int, rng: np.random.Generator, *, kept_out: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Cut groups of random photos.

        Parameters
        ----------
        groups
            How many, G.
        rng
            Draws photos and frames.
        kept_out
            Of the photographers that are kept out of training, instead of the others.

        Returns
        -------
        tuple of Tensor
            Views ``(G · GROUP, 3, 256, 256)`` and where the picture is in them, as the network takes them; tilts
            ``(G · GROUP,)`` in degrees.
        """
        places = rng.choice(np.flatnonzero(self._kept_out == kept_out), groups)
        frames = [frame for place in places for frame in draw_group(self._copies[place], rng)]
        view, inside = (
            torch.from_numpy(np.concatenate(part))
            for part in zip(*(letterboxed(frame.pixels) for frame in frames), strict=True)
        )
        return view, inside, torch.tensor([frame.tilt_degrees for frame in frames])


def _small_copy(path: Path) -> ByteImage:
    pixels = read_pixels(path)
    share = min(1.0, _COPY_PX / max(pixels.shape))
    return np.asarray(cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), dtype=np.uint8)


class CompositionTask:
    """Learns backbone and heads.

    Parameters
    ----------
    model
        The network; its standardization is set here.
    frames
        Draws what it learns from.
    backbone
        Weights of the ImageNet backbone, whose moments standardization is measured of.
    settings
        Steps, batch in groups, learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self,
        model: Composition,
        frames: CompositionFrames,
        backbone: Mapping[str, Tensor],
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self.frames, self.settings, self.device = frames, settings, device
        pretrained = Composition().eval()
        pretrained.backbone.take(backbone)
        with torch.no_grad():
            view, inside, _ = frames.draw(_MEASURED_GROUPS, np.random.default_rng(settings.seed))
            moments = moments_inside(pretrained.maps(F.avg_pool2d(view, _POOL)), inside)
        model.tilt.center.copy_(moments.mean(0))
        model.tilt.spread.copy_(moments.std(0) + 1e-3)
        self.model: Composition = channels_last(model, device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the backbone at a share of the learning rate."""
        backbone = list(self.model.backbone.parameters())
        heads = [*self.model.tilt.parameters(), *self.model.framing.parameters()]
        return [(_BACKBONE_SHARE, backbone), (1.0, [p for p in heads if p.requires_grad])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of new frames."""
        rng = np.random.default_rng([self.settings.seed, step])
        view, inside, tilts = (t.to(self.device) for t in self.frames.draw(self.settings.batch, rng))
        maps = self.model.maps(F.avg_pool2d(view.contiguous(memory_format=torch.channels_last), _POOL))
        tilt, _, logits = self.model.tilt.answer(moments_inside(maps, inside))
        tilt, score = tilt.flatten().float(), self.model.framing(maps[-1]).float().reshape(-1, GROUP)
        votes = torch.softmax(-0.5 * ((self.model.tilt.answers - tilts[:, None]) / _VOTE_SIGMA) ** 2, 1)
        losses = {
            "votes": F.cross_entropy(logits.float(), votes),
            "tilt": 0.2 * F.smooth_l1_loss(tilt, tilts),
            "framing": F.softplus(score[:, 1:] - score[:, :1]).mean(),
        }
        parts = {"error": (tilt - tilts).abs().mean(), **losses}
        return torch.stack([*losses.values()]).sum(), {name: float(part.detach()) for name, part in parts.items()}


@torch.no_grad()
def learn_how_sure(task: CompositionTask) -> Composition:
    """Fit the probability that a trained network is right, on photographers that it was not trained on, and return it.

    A logistic regression (Platt scaling, 1999), by Newton's method.

    Parameters
    ----------
    task
        Done.
    """
    model = channels_last(task.model.cpu()).eval()
    rng, rows, right = np.random.default_rng([task.settings.seed, _KEPT_OUT]), [], []
    for _ in range(_SURE_BATCHES):
        view, inside, tilts = task.frames.draw(_GROUPS, rng, kept_out=True)
        tilt, scatter, _ = model.tilt.answer(moments_inside(model.maps(view), inside))
        rows.append(torch.cat([scatter, torch.ones_like(scatter)], 1).double())
        right.append(((tilt.flatten() - tilts).abs() < RIGHT_DEGREES).double())
    inputs, wanted, weights = torch.cat(rows), torch.cat(right), torch.zeros(2, dtype=torch.float64)
    for _ in range(_NEWTON_STEPS):
        said = torch.sigmoid(inputs @ weights)
        # A little ridge: answers of a network that knows nothing yet scatter all alike.
        curvature = (inputs.T * (said * (1 - said))) @ inputs + 1e-3 * torch.eye(2, dtype=torch.float64)
        weights += torch.linalg.solve(curvature, inputs.T @ (wanted - said) - 1e-3 * weights)
    model.tilt.sure.weight.copy_(weights[None, :-1])
    model.tilt.sure.bias.copy_(weights[-1:])
    return model


def composition_settings(steps: int, seed: int) -> FitSettings:
    """Return how the network is trained."""
    return FitSettings(steps=steps, batch=_GROUPS, learning_rate=1e-3, weight_decay=0.05, ema=0.995, seed=seed)
