"""The measured frames: held-out photos degraded by known amounts, some left clean, some with one fault only."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.export.data.degrade import Faults, Frame, degrade
from pocketcrafter.export.data.noise import MAX_ENCODED_SIGMA, NoiseModel, load_noise_models
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.sampling import cut_square, draw_faults
from pocketcrafter.export.train.evidence import FRAME_PX
from pocketcrafter.runtime.plan import EditPlan


class FrameKey(NamedTuple):
    """Which frame of a measurement: the ``repeat``-th of its kind from a photo."""

    photo: str
    kind: FrameKind
    repeat: int


@dataclass(frozen=True)
class MeasuredFrame:
    """One frame of the measurement and where it comes from: the ``repeat``-th of its kind from a photo."""

    kind: FrameKind
    photo: str
    repeat: int
    frame: Frame


def frame_keys(photos: Sequence[Path], kinds: Sequence[FrameKind], per_photo: int) -> list[FrameKey]:
    """Return the keys of all frames, in the order in which `measured_frames` gives them.

    Parameters
    ----------
    photos
        Files of photos.
    kinds
        What is done to frames.
    per_photo
        Frames of each kind and photo.
    """
    return [FrameKey(path.name, kind, repeat) for path in photos for kind in kinds for repeat in range(per_photo)]


def measured_frames(
    photos: Sequence[Path],
    noise_profiles: Path,
    kinds: Sequence[FrameKind],
    per_photo: int,
    seed: int,
    wanted: Container[FrameKey] | None = None,
) -> Iterator[MeasuredFrame]:
    """Yield frames of 512², the same ones whenever the arguments are.

    Parameters
    ----------
    photos
        sRGB photos of at least 512 px on both sides.
    noise_profiles
        As in `load_noise_models`.
    kinds, per_photo
        ``per_photo`` frames are cut for every photo and kind.
    seed
        What cuts and faults are drawn from.
    wanted
        Only these are made, each the one that it would be among all; all when not given.
    """
    noise = load_noise_models(noise_profiles)
    for index, path in enumerate(photos):
        keys = [k for k in frame_keys([path], kinds, per_photo) if wanted is None or k in wanted]
        if not keys:
            continue
        pixels = read_pixels(path)
        for key in keys:
            rng = np.random.default_rng([seed, index, list(FrameKind).index(key.kind), key.repeat])
            clean = cut_square(pixels, FRAME_PX, rng)
            frame = degrade(clean, _faults(key.kind, noise, rng), rng)
            yield MeasuredFrame(key.kind, key.photo, key.repeat, frame)


def _faults(kind: FrameKind, noise: Sequence[NoiseModel], rng: np.random.Generator) -> Faults:
    amount = float(rng.uniform(0.25, 1.0))
    return _FAULTS[kind](amount, noise, rng)


def _some_faults(_: float, noise: Sequence[NoiseModel], rng: np.random.Generator) -> Faults:
    faults = draw_faults(rng, noise)
    while not faults.plan.is_active():
        faults = draw_faults(rng, noise)
    return faults


def _noise(amount: float, noise: Sequence[NoiseModel], rng: np.random.Generator) -> Faults:
    model = noise[int(rng.integers(len(noise)))].scaled_to(amount * MAX_ENCODED_SIGMA)
    return Faults(EditPlan(denoise=amount), noise=model, noise_grain=float(rng.uniform(0, 0.9)))


def _haze(amount: float, noise: Sequence[NoiseModel], rng: np.random.Generator) -> Faults:
    # The veil's color is drawn as in training frames: it is not the gray that the renderer takes it for.
    return Faults(EditPlan(dehaze=amount), airlight=_some_faults(amount, noise, rng).airlight)


_FAULTS: Final[Mapping[FrameKind, Callable[[float, Sequence[NoiseModel], np.random.Generator], Faults]]] = {
    FrameKind.DEGRADED: _some_faults,
    FrameKind.CLEAN: lambda *_: Faults(EditPlan()),
    FrameKind.NOISE: _noise,
    FrameKind.JPEG: lambda amount, *_: Faults(EditPlan(dejpeg=amount)),
    FrameKind.DEFOCUS: lambda amount, *_: Faults(EditPlan(deblur=amount)),
    FrameKind.MOTION: lambda amount, _, rng: Faults(EditPlan(deblur=amount), motion_degrees=float(rng.uniform(0, 180))),
    FrameKind.HAZE: _haze,
}
