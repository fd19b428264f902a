"""The constants of the analytic renderer, shared by the numpy runtime and the differentiable torch twin."""

from typing import Final

LUMA: Final = (0.2126, 0.7152, 0.0722)
"""Rec. 709 luma weights (ITU-R BT.709)."""

LOG2_GAIN_PER_MIRED: Final = (0.0063, 0.0, -0.0080)
"""log2 gain of R, G, B relative to G for one mired of warming: the slope of the Planckian locus in linear sRGB
between 5000 K and 10000 K (CIE 015; the locus is straight to 2 % in log ratio there)."""

LOG2_GREEN_PER_MIRED: Final = -0.0075
"""log2 gain of G for one mired of tint; magenta is less green."""

SHOULDER_POWER: Final = 8.0
"""A gain below one leaves clipped white white: g·x / (1 − (1 − g)·x**k)."""

AIRLIGHT: Final = 0.8
"""Linear-light grey of the veil that `dehaze` removes."""

VEIL: Final = 0.6
"""Transmission lost at dehaze = 1 (Koschmieder's law with uniform depth)."""

TOE: Final = 0.005
"""Width of the soft floor under which dehazing cannot push a tone, at dehaze = 1."""

REGION_LIFT: Final = 0.14 * 6.75
"""Peak change 0.14 of encoded tone for shadows or highlights at ±1; below 1, so that the curve stays monotonic."""

TONE_EPS: Final = 1e-6
"""Distance from 0 and 1 at which the contrast curve is evaluated."""
