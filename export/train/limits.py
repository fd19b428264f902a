"""What the default pair must reach: gates are tuned against these limits, and benchmarks measure against them."""

from typing import Final

MAX_WORSE_SHARE: Final = 0.12
"""Largest share of degraded frames whose mean CIEDE2000 may rise by more than 1."""

UNCHANGED_PSNR_DB: Final = 38.0
"""A clean frame above this looks the same as before."""

MIN_UNCHANGED_SHARE: Final = 0.75
"""Smallest share of clean frames that must look the same as before."""

AIM_WORSE_SHARE: Final = MAX_WORSE_SHARE / 2
AIM_UNCHANGED_SHARE: Final = 0.92
"""What the gate is tuned to on the photos there are, so that photos of other kinds still keep the limits."""
