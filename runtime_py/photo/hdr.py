"""HDR photos (PQ and HLG of ITU-R BT.2100) made fit for displays that show white and nothing brighter.

The operator is the one of ITU-R BT.2390 (section 5.4): light up to a knee stays as it is, brighter light is rolled off
so that the photo's brightest pixel becomes white. It acts on the greatest of R, G and B; the three are scaled alike,
which keeps hue and saturation. White is HDR's diffuse white (203 cd/m², BT.2408), so that everything below the
highlights keeps its brightness.
"""

from typing import Final, cast

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray, PixelArray
from pocketcrafter.runtime.photo.icc import HLG, PRIMARIES, CodePoints
from pocketcrafter.runtime.render import linear_to_srgb

WHITE_NITS: Final = 203.0
HLG_PEAK_NITS: Final = 1000.0
_HLG_GAMMA: Final = 1.2
"""System gamma of a display of `HLG_PEAK_NITS`."""
_PQ_PEAK_NITS: Final = 10_000.0
_STRIP_PIXELS: Final = 1 << 18

# BT.2100, table 4.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_to_nits(encoded: AnyFloatArray) -> AnyFloatArray:
    """Decode PQ values in [0, 1] to cd/m²."""
    root = encoded ** (1 / _M2)
    return np.asarray(_PQ_PEAK_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def nits_to_pq(nits: AnyFloatArray) -> AnyFloatArray:
    """Encode cd/m² as PQ values in [0, 1]."""
    power = (nits / _PQ_PEAK_NITS) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_to_scene(encoded: AnyFloatArray) -> AnyFloatArray:
    """Decode HLG values in [0, 1] to scene light in [0, 1], before the system gamma."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(encoded <= 0.5, encoded**2 / 3, (np.exp((encoded - c) / a) + b) / 12)


def rolled_off(nits: AnyFloatArray, peak: float) -> AnyFloatArray:
    """Map luminances of a photo whose brightest is ``peak`` to at most `WHITE_NITS`, after BT.2390."""
    if peak <= WHITE_NITS:
        return nits
    top, white = nits_to_pq(np.array([peak, WHITE_NITS]))
    most = white / top
    knee = 1.5 * most - 0.5
    x = nits_to_pq(nits) / top
    t = np.clip((x - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return np.where(x < knee, nits, pq_to_nits(np.minimum(spline, most) * top))


def tone_mapped(pixels: PixelArray, color: CodePoints) -> tuple[PixelArray, bytes | None, str]:
    """Convert HDR pixels to a display's.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16, full range.
    color
        Their encoding; PQ or HLG.

    Returns
    -------
    tuple
        Pixels of the same shape and dtype; their ICC profile: Display P3, or `None` (sRGB) where the source's primaries
        are BT.709's; and what was done, as a note. Colors outside of that gamut are clipped.
    """
    levels = int(np.iinfo(pixels.dtype).max)
    name, space = PRIMARIES[color.primaries]
    target = CodePoints(1 if color.primaries == 1 else 12, 13)
    target_name, target_space = PRIMARIES[target.primaries]
    to_target = (np.linalg.solve(target_space.to_pcs(), space.to_pcs()) / WHITE_NITS).T.astype(np.float32)
    luma = space.to_xyz()[1].astype(np.float32)

    encoded = np.arange(levels + 1) / levels
    table = (hlg_to_scene if color.transfer == HLG else pq_to_nits)(encoded).astype(np.float32)
    flat = pixels.reshape(-1, 3)
    strips = [slice(start, start + _STRIP_PIXELS) for start in range(0, len(flat), _STRIP_PIXELS)]
    peak = HLG_PEAK_NITS if color.transfer == HLG else float(table[int(flat.max())])

    # Every luminance that occurs is one of the table's (PQ), or near one of a fine scale (HLG).
    knots = pq_to_nits(np.linspace(0, 1, 4097))
    ratios = rolled_off(knots, peak)[1:] / knots[1:]
    out = np.empty_like(flat)
    for strip in strips:
        light = table[flat[strip]]
        if color.transfer == HLG:
            light = light * (HLG_PEAK_NITS * np.maximum(light @ luma, 1e-9) ** (_HLG_GAMMA - 1))[:, None]
        light *= np.interp(light.max(axis=1), knots[1:], ratios).astype(np.float32)[:, None]
        shown = linear_to_srgb(np.clip(light @ to_target, 0, 1))
        out[strip] = np.rint(shown * levels)
    kind = "HLG" if color.transfer == HLG else "PQ"
    note = f"HDR pixels ({kind}, {name}, up to {peak:.0f} cd/m²) were tone-mapped to {target_name} after BT.2390."
    return cast("PixelArray", out.reshape(pixels.shape)), target.profile(), note
