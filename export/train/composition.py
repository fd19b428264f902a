"""Training the composition network: tilts by votes, framing by which of two crops the photographer chose.

It learns from tilted crops of photos, stored with the outputs of its fixed layers. Frames come in groups of one photo,
one tilt and one size: the first is centered, as the photographer framed it, the others are shifted. All are cut and
resampled alike, so that neither size nor softness nor a photo's border tells them apart. The only labels are the
photographer's framing and level, which are taken as good.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.composition import ANGLES, CELLS, FEATURES, PROFILES, Composition
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress, weights_digest
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed, working_copy
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox

GROUP: Final = 4
MAX_TILT_DEGREES: Final = 8.0
_BORDER: Final = 0.02
"""Share of a photo that no frame shows: frames, vignettes and scan lines would tell the shifted ones."""
_SCALES: Final = (0.7, 0.9)
_SHIFTS: Final = (0.5, 1.0)
_ASPECTS: Final = (1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9)
_LAYOUT: Final[Layout] = {
    "profiles": (np.float16, (PROFILES, 1, ANGLES)),
    "features": (np.float16, (FEATURES, CELLS, CELLS)),
    "tilts": (np.float32, ()),
    "shifts": (np.float32, (2,)),
    "photos": (np.int32, ()),
}
RIGHT_DEGREES: Final = 1.5
"""The error under which an answer counts as right: what the confidence is the probability of."""
_VOTE_SIGMA: Final = 0.8
"""Degrees."""
_GAIN_SIGMA: Final = 0.15


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


class FramesConfig(Config):
    """What identifies a store; another configuration needs another folder."""

    groups: int
    seed: int
    photos: tuple[str, ...]
    backbone_sha256: str


@dataclass(frozen=True)
class CompositionFrames(StoredArrays):
    """Memory-mapped arrays, one row a frame; the rows of a group follow each other.

    Attributes
    ----------
    profiles, features
        `Composition.evidence`: float16 ``(N, PROFILES, 1, ANGLES)`` and ``(N, FEATURES, CELLS, CELLS)``.
    tilts
        float32 ``(N,)``, degrees.
    shifts
        float32 ``(N, 2)``, as in `FramedView`.
    photos
        Index of the photo: int32 ``(N,)``.
    """

    profiles: npt.NDArray[np.float16]
    features: npt.NDArray[np.float16]
    tilts: npt.NDArray[np.float32]
    shifts: npt.NDArray[np.float32]
    photos: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.tilts)


def build_frames(
    folder: Path,
    photos: Sequence[Path],
    backbone: Mapping[str, Tensor],
    groups: int,
    seed: int,
    on_progress: Callable[[int], object] = lambda _: None,
) -> CompositionFrames:
    """Make the store, or what is missing of it, and open it.

    Group ``i`` is of photo ``i`` modulo their number and depends on the seed and ``i`` alone, so that an interrupted
    build goes on where it stopped.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    photos
        sRGB photos.
    backbone
        Weights of `MobileNetV2`.
    groups, seed
        How many groups of `GROUP` frames, and what they are drawn from.
    on_progress
        Called with the number of frames that were there already, then with that of each group made.

    Raises
    ------
    ConfigError
        If the folder holds a store of another configuration.
    """
    digest, names = weights_digest(backbone), tuple(p.name for p in photos)
    config = FramesConfig(groups=groups, seed=seed, photos=names, backbone_sha256=digest)
    done = open_progress(folder, config, _LAYOUT, groups * GROUP, groups)
    on_progress(GROUP * int(done.sum()))
    if not done.all():
        store = CompositionFrames.open(folder, "r+")
        network = channels_last(Composition().eval())
        network.backbone.take(backbone)
        copies: dict[int, ByteImage] = {}
        for group in np.flatnonzero(~done):
            index = int(group) % len(photos)
            if index not in copies:
                copies[index] = read_working_copy(photos[index])
            _fill(
                store, network, int(group), index, draw_group(copies[index], np.random.default_rng([seed, int(group)]))
            )
            done[group] = True
            done.flush()
            on_progress(GROUP)
    return CompositionFrames.open(folder)


def read_working_copy(path: Path) -> ByteImage:
    """Read a prepared photo as the network's frames are cut from it."""
    with Image.open(path) as image:
        return working_copy(Photo(np.asarray(image.convert("RGB")))).astype(np.uint8, copy=False)


@torch.no_grad()
def _fill(store: CompositionFrames, network: Composition, group: int, photo: int, frames: Sequence[FramedView]) -> None:
    rows = slice(group * GROUP, (group + 1) * GROUP)
    views, insides = zip(*(letterboxed(frame.pixels) for frame in frames), strict=True)
    view, inside = (torch.from_numpy(np.concatenate(arrays)) for arrays in (views, insides))
    profiles, features = network.evidence(view.contiguous(memory_format=torch.channels_last), inside)
    store.profiles[rows], store.features[rows] = profiles.numpy(), features.numpy()
    store.tilts[rows] = [frame.tilt_degrees for frame in frames]
    store.shifts[rows] = [frame.shift for frame in frames]
    store.photos[rows] = photo


class CompositionTask:
    """Learns the heads; backbone and orientation are fixed, their outputs stored.

    Parameters
    ----------
    frames
        Stored features of frames.
    backbone
        Weights of the ImageNet backbone; they are not trained.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self, frames: CompositionFrames, backbone: Mapping[str, Tensor], settings: FitSettings, device: torch.device
    ) -> None:
        self.frames, self.settings, self.device = frames, settings, device
        self.model = Composition().to(device)
        self.model.backbone.take(backbone)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the heads, and nothing else."""
        heads = [*self.model.tilt.parameters(), *self.model.framing.parameters()]
        return [(1.0, [p for p in heads if p.requires_grad])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of whole groups; its size is that of the settings in groups."""
        rng = np.random.default_rng([self.settings.seed, step])
        groups = np.sort(rng.choice(len(self.frames) // GROUP, self.settings.batch, replace=False))
        rows = (groups[:, None] * GROUP + np.arange(GROUP)).ravel()
        profiles, tilts = _varied(self._rows(self.frames.profiles, rows), self._rows(self.frames.tilts, rows), rng)
        tilt, confidence, logits = self.model.tilt(profiles)
        error = (tilt.flatten() - tilts).abs()
        answers = self.model.tilt.answers
        votes = torch.softmax(-0.5 * ((answers - tilts[:, None]) / _VOTE_SIGMA) ** 2, 1)
        angle_loss = F.cross_entropy(logits, votes) + 0.2 * F.smooth_l1_loss(tilt.flatten(), tilts)
        sure_loss = F.binary_cross_entropy(confidence.flatten(), (error.detach() < RIGHT_DEGREES).float())
        score = self.model.framing(self._rows(self.frames.features, rows)).reshape(-1, GROUP)
        framing_loss = F.softplus(score[:, 1:] - score[:, :1]).mean()
        parts = {"error": error, "sure": sure_loss, "framing": framing_loss}
        return angle_loss + sure_loss + framing_loss, {k: float(v.detach().mean()) for k, v in parts.items()}

    def _rows(self, array: npt.NDArray[np.float16] | npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> Tensor:
        # A copy, as torch warns of arrays that cannot be written to.
        return torch.from_numpy(np.array(array[rows])).float().to(self.device)


def _varied(profiles: Tensor, tilts: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Augment stored evidence: mirror half of the frames, which negates their angles, and scale each map at random."""
    count = len(tilts)
    mirrored = torch.from_numpy(rng.random(count) < 0.5).to(tilts.device)
    gains = torch.from_numpy(np.exp(rng.normal(0, _GAIN_SIGMA, (count, profiles.shape[1], 1, 1)))).to(profiles)
    turned = torch.where(mirrored[:, None, None, None], profiles.flip(3), profiles)
    return turned * gains, torch.where(mirrored, -tilts, tilts)
