"""The degradation engine: a clean photo made worse by known amounts, with the plan that would mend it.

Tone and white balance are the inverse of the analytic renderer, in linear light; then lens blur, motion, sensor noise
and JPEG in the order in which a camera adds them. Faults for which a plan has no attribute come from `realism`.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pocketcrafter.export.data.noise import NoiseModel, add_noise
from pocketcrafter.export.data.realism import Scene, curved, lit, phone_finish
from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.render import channel_curves, channel_gains, linear_to_srgb, srgb_to_linear

ByteImage = npt.NDArray[np.uint8]

MAX_BLUR_RADIUS_PX: Final = 4.0
"""Defocus disc radius at deblur = 1."""

MOTION_PX_PER_RADIUS: Final = 4.25
"""A motion streak this many times longer than a disc's radius counts as the same amount of blur."""

BEST_JPEG_QUALITY: Final = 75
WORST_JPEG_QUALITY: Final = 10

_CODES: Final = 4096
_LINEAR_CODES: Final = 65536
_ENCODE: Final = np.round(linear_to_srgb(np.linspace(0, 1, _LINEAR_CODES, dtype=np.float32)) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Faults:
    """Everything that is done to one frame; amounts are those of the plan that mends it."""

    plan: EditPlan
    airlight: tuple[float, float, float] = (tm.AIRLIGHT,) * 3
    motion_degrees: float | None = None
    noise: NoiseModel | None = None
    noise_grain: float = 0.0
    scene: Scene = field(default_factory=Scene)


@dataclass(frozen=True)
class Frame:
    """One training sample.

    Attributes
    ----------
    degraded, tonal, clean
        sRGB uint8 pictures of one shape ``(H, W, 3)``: with all faults, with those of tone, light and lens only (what
        restoration aims at), and as it was.
    plan
        The ground truth.
    """

    degraded: ByteImage
    tonal: ByteImage
    clean: ByteImage
    plan: EditPlan


def degrade(clean: ByteImage, faults: Faults, rng: np.random.Generator) -> Frame:
    """Make one frame worse.

    Parameters
    ----------
    clean
        sRGB uint8, shape ``(H, W, 3)``.
    faults
        What to do.
    rng
        Draws the noise; nothing else is random here.
    """
    scene = faults.scene
    if scene.lens is not None:
        clean = scene.lens.distorted(clean)
    linear = lit(_tonal_faults(clean, faults), scene)
    tonal = _to_bytes(linear)
    if faults.plan.deblur > 0:
        linear = cv2.filter2D(linear, -1, _blur_kernel(faults), borderType=cv2.BORDER_REFLECT)
    if faults.noise is not None:
        linear = add_noise(linear, faults.noise, faults.noise_grain, rng)
    degraded = _to_bytes(linear) if faults.plan.deblur > 0 or faults.noise is not None else tonal
    if scene.phone_quality is not None:
        degraded = _through_jpeg(phone_finish(degraded), scene.phone_quality)
    if faults.plan.dejpeg > 0:
        degraded = _through_jpeg(degraded, jpeg_quality(faults.plan.dejpeg))
    return Frame(degraded, tonal, clean, faults.plan)


def jpeg_quality(dejpeg: float) -> int:
    """Return the libjpeg quality that a dejpeg amount in (0, 1] stands for."""
    return round(BEST_JPEG_QUALITY - dejpeg * (BEST_JPEG_QUALITY - WORST_JPEG_QUALITY))


def _tonal_faults(clean: ByteImage, faults: Faults) -> FloatArray:
    """Return the picture with the tonal faults, in linear light: the inverse of `render` up to a sensor's clipping."""
    plan = faults.plan
    encoded = clean.astype(np.float32) * np.float32((_CODES - 1) / 255)
    if plan.saturation != 0:
        luma = encoded @ np.array(tm.LUMA, dtype=np.float32)
        encoded = luma[..., None] + (encoded - luma[..., None]) * np.float32(1 / (1 + plan.saturation))
    codes = np.clip(encoded + 0.5, 0, _CODES - 1).astype(np.uint16)
    curves = inverse_curves(plan, faults.airlight)
    if faults.scene.curve is not None:
        curves = srgb_to_linear(curved(linear_to_srgb(curves), faults.scene))
    return np.stack([curves[c][codes[..., c]] for c in range(3)], axis=-1)


def inverse_curves(plan: EditPlan, airlight: tuple[float, float, float]) -> FloatArray:
    """Return the tonal faults as tables ``(3, 4096)``: from clean encoded values to linear light with the faults."""
    codes = np.linspace(0, 1, _CODES, dtype=np.float32)
    shape_only = EditPlan(contrast=plan.contrast, highlights=plan.highlights, shadows=plan.shadows)
    shaped = channel_curves(shape_only, codes[:, None])[:, 0]
    scene = srgb_to_linear(np.interp(codes, shaped, codes).astype(np.float32))
    transmission = 1 - tm.VEIL * plan.dehaze
    veiled = scene[None] * transmission + np.array(airlight, dtype=np.float32)[:, None] * (1 - transmission)
    return np.clip(veiled / channel_gains(plan)[:, None], 0, 1).astype(np.float32)


def _to_bytes(linear: FloatArray) -> ByteImage:
    codes = np.clip(linear * np.float32(_LINEAR_CODES - 1) + np.float32(0.5), 0, _LINEAR_CODES - 1)
    return _ENCODE[codes.astype(np.uint16)]


def _blur_kernel(faults: Faults) -> FloatArray:
    radius = faults.plan.deblur * MAX_BLUR_RADIUS_PX
    oversampling = 8
    if faults.motion_degrees is None:
        half = int(np.ceil(radius + 0.5))
        side = 2 * half + 1
        grid = (np.arange(side * oversampling) + 0.5) / oversampling - side / 2
        disc = (grid[:, None] ** 2 + grid[None] ** 2 <= max(radius, 0.5) ** 2).astype(np.float32)
        kernel = disc.reshape(side, oversampling, side, oversampling).mean((1, 3))
    else:
        length = radius * MOTION_PX_PER_RADIUS
        half = int(np.ceil(length / 2)) + 1
        along = np.linspace(-length / 2, length / 2, 8 * half)
        angle = np.deg2rad(faults.motion_degrees)
        kernel = np.zeros((2 * half + 1,) * 2, dtype=np.float32)
        x, y = along * np.cos(angle) + half, along * np.sin(angle) + half
        x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
        for dy in (0, 1):
            for dx in (0, 1):
                weight = np.abs(1 - dx - (x - x0)) * np.abs(1 - dy - (y - y0))
                np.add.at(kernel, (y0 + dy, x0 + dx), weight)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _through_jpeg(image: ByteImage, quality: int) -> ByteImage:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
