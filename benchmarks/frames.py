"""The measured frames: held-out photos degraded by known amounts, some left clean, some with one fault only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image

from pocketcrafter.export.data.degrade import Faults, Frame, degrade
from pocketcrafter.export.data.noise import MAX_ENCODED_SIGMA, NoiseModel, load_noise_models
from pocketcrafter.export.data.sampling import cut_square, draw_faults
from pocketcrafter.export.train.evidence import FRAME_PX
from pocketcrafter.runtime.plan import EditPlan


class FrameKind(StrEnum):
    """What was done to a frame."""

    DEGRADED = "degraded"
    CLEAN = "clean"
    NOISE = "noise"
    JPEG = "jpeg"
    DEFOCUS = "defocus"
    MOTION = "motion"


@dataclass(frozen=True)
class MeasuredFrame:
    """One frame of the measurement and where it comes from."""

    kind: FrameKind
    photo: str
    frame: Frame


def measured_frames(
    photos: Sequence[Path], noise_profiles: Path, kinds: Sequence[FrameKind], per_photo: int, seed: int
) -> Iterator[MeasuredFrame]:
    """Yield ``per_photo`` frames of 512² for every photo and kind; the same ones whenever the arguments are."""
    noise = load_noise_models(noise_profiles)
    for index, path in enumerate(photos):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        for kind in kinds:
            for repeat in range(per_photo):
                rng = np.random.default_rng([seed, index, list(FrameKind).index(kind), repeat])
                clean = cut_square(pixels, FRAME_PX, rng)
                yield MeasuredFrame(kind, path.name, degrade(clean, _faults(kind, noise, rng), rng))


def _faults(kind: FrameKind, noise: Sequence[NoiseModel], rng: np.random.Generator) -> Faults:
    amount = float(rng.uniform(0.25, 1.0))
    match kind:
        case FrameKind.DEGRADED:
            faults = draw_faults(rng, noise)
            while not faults.plan.is_active():
                faults = draw_faults(rng, noise)
            return faults
        case FrameKind.CLEAN:
            return Faults(EditPlan())
        case FrameKind.NOISE:
            model = noise[int(rng.integers(len(noise)))].scaled_to(amount * MAX_ENCODED_SIGMA)
            return Faults(EditPlan(denoise=amount), noise=model, noise_grain=float(rng.uniform(0, 0.9)))
        case FrameKind.JPEG:
            return Faults(EditPlan(dejpeg=amount))
        case FrameKind.DEFOCUS:
            return Faults(EditPlan(deblur=amount))
        case FrameKind.MOTION:
            return Faults(EditPlan(deblur=amount), motion_degrees=float(rng.uniform(0, 180)))
