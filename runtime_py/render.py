"""The analytic renderer: a plan's tonal part applied to sRGB-encoded pixels, in linear light, at any size.

Everything but saturation acts on each channel alone, so that for integer pixels the whole plan is one lookup table a
channel and a chroma scale: exact, monotonic and instant. The torch twin is ``pocketcrafter.export.models.renderer``.
"""

import numpy as np

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.plan import EditPlan


def channel_curves(plan: EditPlan, encoded: FloatArray) -> FloatArray:
    """Apply everything but saturation.

    Parameters
    ----------
    plan
        The plan; only its tonal attributes are read.
    encoded
        sRGB-encoded values in [0, 1], shape ``(..., 3)`` or ``(..., 1)`` (broadcast to three channels), float32.

    Returns
    -------
    FloatArray
        Shape ``(..., 3)``, sRGB-encoded, in [0, 1]; non-decreasing in each input value.
    """
    x = _veil_removed(_gained(srgb_to_linear(encoded), channel_gains(plan)), plan.dehaze)
    y = linear_to_srgb(np.clip(x, 0.0, 1.0))
    lift = plan.shadows * y * (1 - y) ** 2 + plan.highlights * y**2 * (1 - y)
    y = np.clip(y + tm.REGION_LIFT * lift, tm.TONE_EPS, 1 - tm.TONE_EPS)
    slope = 2.0**plan.contrast
    up, down = y**slope, (1 - y) ** slope
    curved: FloatArray = (up / (up + down)).astype(np.float32)
    return curved


def render(plan: EditPlan, encoded: FloatArray) -> FloatArray:
    """Apply the plan's tonal attributes to a float picture.

    Parameters
    ----------
    plan
        The plan; restoration and geometry are not read.
    encoded
        sRGB-encoded picture in [0, 1], shape ``(..., 3)``, float32.

    Returns
    -------
    FloatArray
        Same shape and encoding.
    """
    return scale_chroma(channel_curves(plan, encoded), plan.saturation)


def scale_chroma(encoded: FloatArray, saturation: float) -> FloatArray:
    """Multiply the distance from luma by ``1 + saturation`` and clip to [0, 1]; shape ``(..., 3)``, float32."""
    luma = encoded @ np.array(tm.LUMA, dtype=np.float32)
    luma = luma[..., None]
    scaled: FloatArray = np.clip(luma + np.float32(1 + saturation) * (encoded - luma), 0.0, 1.0)
    return scaled


def channel_gains(plan: EditPlan) -> FloatArray:
    """Return linear-light gains of R, G, B, shape ``(3,)``: exposure times a white balance that keeps gray's luma."""
    log2 = plan.temperature_mired * np.array(tm.LOG2_GAIN_PER_MIRED)
    log2[1] += plan.tint_mired * tm.LOG2_GREEN_PER_MIRED
    balance = 2.0**log2
    gains: FloatArray = (2.0**plan.exposure_ev * balance / (balance @ np.array(tm.LUMA))).astype(np.float32)
    return gains


def srgb_to_linear(encoded: FloatArray) -> FloatArray:
    """Decode the sRGB transfer function (IEC 61966-2-1); values in [0, 1]."""
    low = encoded / 12.92
    high = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, low, high).astype(np.float32)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Encode with the sRGB transfer function (IEC 61966-2-1); values in [0, 1]."""
    low = linear * 12.92
    high = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, low, high).astype(np.float32)


def _gained(linear: FloatArray, gains: FloatArray) -> FloatArray:
    shoulder = 1 - np.maximum(1 - gains, 0.0) * linear**tm.SHOULDER_POWER
    gained: FloatArray = np.minimum(gains * linear / shoulder, 1.0)
    return gained


def _veil_removed(linear: FloatArray, dehaze: float) -> FloatArray:
    veil = tm.VEIL * dehaze
    scene = (linear - tm.AIRLIGHT * veil) / (1 - veil)
    # max(scene, 0) with a rounded corner: (scene + √(scene² + toe)) / 2, written so that nothing cancels below zero.
    toe = (tm.TOE * dehaze) ** 2 + 1e-12
    larger = 0.5 * (np.abs(scene) + np.sqrt(scene**2 + toe))
    unveiled: FloatArray = np.where(scene < 0, 0.25 * toe / larger, larger)
    return unveiled
