"""The analytic renderer in torch, batched and differentiable, so that a plan can be trained by its picture.

The numpy twin, with the same formulas, is `pocketcrafter.runtime.render`.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.plan import UNITS, Attribute

_COLUMN: Final[Mapping[Attribute, int]] = {attribute: index for index, attribute in enumerate(Attribute)}


def render(plan: Tensor, encoded: Tensor) -> Tensor:
    """Apply plans to pictures.

    Parameters
    ----------
    plan
        ``EditPlan.vector()`` rows, shape ``(B, len(Attribute))``; only tonal attributes are read.
    encoded
        sRGB-encoded pictures in [0, 1], shape ``(B, 3, H, W)``.

    Returns
    -------
    Tensor
        Same shape and encoding. Of amounts outside their range, as a network may predict them, dehaze is clipped and
        the others are extrapolated.
    """
    amounts = plan * plan.new_tensor(UNITS)
    amount = {a: amounts[:, i, None, None, None] for a, i in _COLUMN.items()}
    gains = _channel_gains(amounts)
    linear = srgb_to_linear(encoded)
    shoulder = 1 - (1 - gains).clamp(min=0) * linear**tm.SHOULDER_POWER
    linear = (gains * linear / shoulder).clamp(max=1)
    dehaze = amount[Attribute.DEHAZE].clamp(0, 1)
    veil = tm.VEIL * dehaze
    scene = (linear - tm.AIRLIGHT * veil) / (1 - veil)
    toe = (tm.TOE * dehaze) ** 2 + 1e-12
    # Not `abs`, whose gradient at zero, where black is without a veil, would be zero.
    larger = 0.5 * (torch.where(scene < 0, -scene, scene) + (scene**2 + toe).sqrt())
    linear = torch.where(scene < 0, 0.25 * toe / larger, larger)
    y = _linear_to_srgb(linear.clamp(0, 1))
    lift = amount[Attribute.SHADOWS] * y * (1 - y) ** 2 + amount[Attribute.HIGHLIGHTS] * y**2 * (1 - y)
    y = (y + tm.REGION_LIFT * lift).clamp(tm.TONE_EPS, 1 - tm.TONE_EPS)
    slope = 2 ** amount[Attribute.CONTRAST]
    up, down = y**slope, (1 - y) ** slope
    y = up / (up + down)
    luma = (y * y.new_tensor(tm.LUMA)[:, None, None]).sum(1, keepdim=True)
    return (luma + (1 + amount[Attribute.SATURATION]) * (y - luma)).clamp(0, 1)


def _channel_gains(amounts: Tensor) -> Tensor:
    warm = amounts[:, _COLUMN[Attribute.TEMPERATURE], None] * amounts.new_tensor(tm.LOG2_GAIN_PER_MIRED)
    green = amounts[:, _COLUMN[Attribute.TINT], None] * amounts.new_tensor((0.0, tm.LOG2_GREEN_PER_MIRED, 0.0))
    balance = 2 ** (warm + green)
    gray = (balance * amounts.new_tensor(tm.LUMA)).sum(1, keepdim=True)
    gains = 2 ** amounts[:, _COLUMN[Attribute.EXPOSURE], None] * balance / gray
    return gains[:, :, None, None]


def srgb_to_linear(encoded: Tensor) -> Tensor:
    """Return linear light of sRGB-encoded values in [0, 1] (IEC 61966-2-1), of the same shape.

    Parameters
    ----------
    encoded
        Of any shape.
    """
    high = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, high)


def _linear_to_srgb(linear: Tensor) -> Tensor:
    high = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, high)
