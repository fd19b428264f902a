"""What a teacher did to a photo, as an edit plan: the analytic renderer is fitted to the two pictures, then a grid.

Exposure and white balance begin at their least-squares solution in linear light. All tonal amounts are then refined
together by Levenberg and Marquardt's method through the differentiable renderer, and amounts that the picture hardly
needs are taken out. What the plan misses, a bilateral grid fitted in closed form takes up as far as it is tonal.

Restoration is told from the teacher's picture in the photo's own tones, which a grid fitted the other way gives: the
amounts of blur and JPEG that make the photo of it, and the noise that is left.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pocketcrafter.export.data.degrade import ByteImage, Faults, degrade
from pocketcrafter.export.data.noise import MAX_ENCODED_SIGMA
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import to_batch
from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.fidelity import psnr_db
from pocketcrafter.runtime.grid import slice_exact
from pocketcrafter.runtime.latent.transfer import fit_transfer
from pocketcrafter.runtime.plan import RESTORATION, TONAL, UNITS, Attribute, EditPlan, attribute_limits
from pocketcrafter.runtime.render import render as render_exactly
from pocketcrafter.runtime.render import srgb_to_linear

_SEEN_PX: Final = 192
"""Longest side at which single pixels are looked at: small enough for noise to be averaged, and edges to stay."""
_FITTED: Final = 2048
"""Pixels that the renderer is fitted to: tone is the same at any place."""
_ITERATIONS: Final = 24
_DAMPING: Final = 1e-3
_MOST_DAMPING: Final = 1e4
_CONVERGED: Final = 1e-4
_NUDGE: Final = 1e-4
_PULL: Final = 1e-6
"""Towards no change, as mean squared error for one unit of an amount: what the pictures do not decide stays 0."""
_NEEDED: Final = 0.002
"""What an amount must gain in root-mean-square error, half a level of 8 bits, or it is taken out…"""
_NEEDED_SHARE: Final = 0.05
"""… or this share of all the error that is left, where that is more."""
_AT_WHITE: Final = 0.995
_HALF_A_VEIL: Final = 0.5
_TONAL_PLACES: Final = [list(Attribute).index(a) for a in TONAL]
_STEPS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_RESTORED_PX: Final = 256
_LEAST_NOISE: Final = 0.1
"""As of degraded frames; less may be what 8 bits have rounded away."""
_EXPLAINED: Final = 0.1
"""Share of the mean squared difference that blur and blocks must explain, or they are none."""
_LAPLACIAN: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@dataclass(frozen=True)
class Inferred:
    """A plan, and how far it goes.

    Attributes
    ----------
    plan
        Tonal amounts and restoration.
    untouched_db, plan_db, grid_db
        How near to the teacher's picture the photo is as it is, with the plan's tonal part, and with the grid on top:
        PSNR, dB.
    target
        The teacher's picture in the photo's own tones, what restoration is to make of the photo: sRGB, uint8.
    """

    plan: EditPlan
    untouched_db: float
    plan_db: float
    grid_db: float
    target: ByteImage


def infer_plan(before: Image.Image, after: Image.Image) -> Inferred:
    """Return the plan that takes a photo to a teacher's picture, as far as there is one.

    Parameters
    ----------
    before, after
        Of one size, sRGB.
    """
    photo, picture = (np.asarray(image.convert("RGB")) for image in (before, after))
    vector = fit_tones(_pixels(photo), _pixels(picture))
    tonal = EditPlan.from_vector(vector)
    start, wanted = (unit(pixels) for pixels in (photo, picture))
    rendered = render_exactly(tonal, start)
    back = carried(wanted, wanted, start)
    target = np.rint(back * 255).astype(np.uint8)
    return Inferred(
        plan=tonal.replace(**restoration_amounts(photo, target)),
        untouched_db=psnr_db(wanted, start, 1.0),
        plan_db=psnr_db(wanted, rendered, 1.0),
        grid_db=psnr_db(wanted, carried(rendered, rendered, wanted), 1.0),
        target=target,
    )


def unit(pixels: ByteImage) -> FloatArray:
    """Return pixels in [0, 1], float32.

    Parameters
    ----------
    pixels
        uint8.
    """
    made: FloatArray = pixels.astype(np.float32) / np.float32(255)
    return made


def carried(picture: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return a picture with what a grid carries over of an edit.

    Parameters
    ----------
    picture
        Of what is edited, at any size, in [0, 1], ``(H, W, 3)``.
    before, after
        Of one size, in [0, 1].
    """
    made: FloatArray = np.clip(slice_exact(fit_transfer(before, after).grid, picture), 0, 1)
    return made


def fit_tones(before: Tensor, after: Tensor) -> FloatArray:
    """Return the tonal plan that takes one small picture to another, in plan-vector units, ``(len(Attribute),)``.

    Parameters
    ----------
    before, after
        ``(1, 3, H, W)`` in [0, 1].
    """
    gains = _gains(before, after)
    veiled = torch.zeros_like(gains)
    veiled[TONAL.index(Attribute.DEHAZE)] = _HALF_A_VEIL
    # A veil and a curve can be taken for each other on the way.
    fits = [_refined(start, before, after, list(range(len(TONAL)))) for start in (gains, 0 * gains, veiled)]
    amounts = min(fits, key=lambda fit: _error(fit, before, after))
    kept = [index for index, amount in enumerate(amounts) if amount != 0]
    while kept:
        _, slope = _linear(amounts, kept, before, after)
        inverse = torch.linalg.inv(_normal(slope))
        # What each one's absence would cost, were the renderer linear (optimal brain surgeon, Hassibi and Stork, 1993).
        least = int((amounts[kept] ** 2 / inverse.diagonal()).argmin())
        without = _refined(amounts, before, after, [index for index in kept if index != kept[least]])
        error = _error(amounts, before, after)
        if _error(without, before, after) > error + max(_NEEDED, _NEEDED_SHARE * error):
            break
        amounts = without
        del kept[least]
    vector = np.zeros(len(Attribute), np.float32)
    vector[_TONAL_PLACES] = amounts.numpy()
    return vector


def restoration_amounts(photo: ByteImage, target: ByteImage) -> dict[str, float]:
    """Return how much noise, blur and JPEG must be added to a picture for it to be the photo.

    Parameters
    ----------
    photo, target
        Of one size and the same tones, sRGB.
    """
    photo, target = (_middle(pixels) for pixels in (photo, target))
    nothing = _squared(photo, target)
    tried = {
        (blur, blocks): _squared(
            photo, degrade(target, Faults(EditPlan(deblur=blur, dejpeg=blocks)), np.random.default_rng(0)).degraded
        )
        for blur in _STEPS
        for blocks in _STEPS
    }
    (blur, blocks), left = min(tried.items(), key=lambda item: item[1])
    if left > (1 - _EXPLAINED) * nothing:
        blur = blocks = 0.0
    noise = np.sqrt(max(0.0, _noise(photo) ** 2 - _noise(target) ** 2)) / MAX_ENCODED_SIGMA
    amounts = (round(float(noise), 3) if noise > _LEAST_NOISE else 0.0, blur, blocks)
    return {a.value: min(1.0, amount) for a, amount in zip(RESTORATION, amounts, strict=True)}


def _gains(before: Tensor, after: Tensor) -> Tensor:
    """Return the exposure and white balance that are the gains of R, G, B in linear light, the rest 0."""
    first, second = (torch.from_numpy(srgb_to_linear(x[0].numpy())) for x in (before, after))
    inside = (first.amax(0) < _AT_WHITE) & (second.amax(0) < _AT_WHITE)
    weight = inside.double() if bool(inside.any()) else torch.ones_like(inside, dtype=torch.float64)
    gains = (first * second * weight).sum((1, 2)) / (first**2 * weight).sum((1, 2)).clamp(min=1e-6)
    warm, green = tm.LOG2_GAIN_PER_MIRED, tm.LOG2_GREEN_PER_MIRED
    matrix = torch.tensor([[1, warm[0], 0], [1, warm[1], green], [1, warm[2], 0]], dtype=torch.float64)
    level, temperature, tint = torch.linalg.solve(matrix, gains.clamp(1e-3, 1e3).log2()).tolist()
    balance = 2 ** (np.array(warm) * temperature + np.array([0, green, 0]) * tint)
    amounts = {
        Attribute.EXPOSURE: level + float(np.log2(balance @ np.array(tm.LUMA))),
        Attribute.TEMPERATURE: temperature,
        Attribute.TINT: tint,
    }
    vector = [amounts.get(a, 0.0) / UNITS[place] for a, place in zip(TONAL, _TONAL_PLACES, strict=True)]
    return _within(torch.tensor(vector, dtype=torch.float64))


def _refined(amounts: Tensor, before: Tensor, after: Tensor, free: list[int]) -> Tensor:
    """Return amounts of less error, those that are not free at 0."""
    made = torch.zeros_like(amounts)
    made[free] = amounts[free]
    if not free:
        return made
    damping, cost = _DAMPING, _cost(made, before, after)
    for _ in range(_ITERATIONS):
        off, slope = _linear(made, free, before, after)
        normal = _normal(slope)
        gradient = slope.T @ off / len(off) + _PULL * made[free]
        while damping < _MOST_DAMPING:
            candidate = made.clone()
            candidate[free] -= torch.linalg.solve(normal + damping * torch.diag(normal.diagonal()), gradient)
            candidate = _within(candidate)
            if (found := _cost(candidate, before, after)) < cost:
                break
            damping *= 8
        else:
            break
        gained, made, cost, damping = cost - found, candidate, found, damping / 4
        if gained < _CONVERGED * cost:
            break
    return made


def _linear(amounts: Tensor, free: list[int], before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return the difference of the pictures, ``(values,)``, and by finite differences its slope in each free amount."""
    moved = amounts.repeat(1 + len(free), 1)
    moved[torch.arange(1, 1 + len(free)), free] += _NUDGE
    found = _difference(moved, before, after)
    return found[0], ((found[1:] - found[0]) / _NUDGE).T


def _normal(slope: Tensor) -> Tensor:
    return slope.T @ slope / len(slope) + _PULL * torch.eye(slope.shape[1], dtype=slope.dtype)


def _difference(amounts: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return what is left of the difference with each row of amounts, ``(rows, values)``."""
    plan = amounts.new_zeros(len(amounts), len(Attribute))
    plan[:, _TONAL_PLACES] = amounts
    return (render(plan, before.expand(len(amounts), -1, -1, -1)) - after).flatten(1)


def _cost(amounts: Tensor, before: Tensor, after: Tensor) -> float:
    return float(_difference(amounts[None], before, after).square().mean() + _PULL * amounts.square().sum())


def _error(amounts: Tensor, before: Tensor, after: Tensor) -> float:
    return float(_difference(amounts[None], before, after).square().mean().sqrt())


def _within(amounts: Tensor) -> Tensor:
    low, high = (torch.from_numpy((limit / UNITS)[_TONAL_PLACES]) for limit in attribute_limits())
    return torch.minimum(torch.maximum(amounts, low), high)


def _pixels(photo: ByteImage) -> Tensor:
    """Return some pixels of a picture, evenly spread, as a picture of one row: ``(1, 3, 1, N)`` in [0, 1]."""
    scale = min(1.0, _SEEN_PX / max(photo.shape[:2]))
    small = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    chosen = small.reshape(-1, 3)[:: max(1, small[..., 0].size // _FITTED)]
    return to_batch(chosen[None, None]).double()


def _middle(pixels: ByteImage) -> ByteImage:
    top, left = (max(0, side - _RESTORED_PX) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + _RESTORED_PX, left : left + _RESTORED_PX])


def _squared(one: ByteImage, other: ByteImage) -> float:
    return float(np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2))


def _noise(pixels: ByteImage) -> float:
    """Return the standard deviation of noise in encoded luma, robustly (Immerkær, 1996; the median for the mean)."""
    luma = (pixels.astype(np.float32) / 255) @ np.array(tm.LUMA, np.float32)
    found = np.abs(cv2.filter2D(luma, -1, _LAPLACIAN)[1:-1, 1:-1])
    return float(np.median(found) / (0.6745 * 6))
