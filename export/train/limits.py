"""What the default pair must reach: gates are tuned against these limits, and benchmarks measure against them."""

from typing import Final

MAX_WORSE_SHARE: Final = 0.06
"""Largest share of degraded frames whose mean CIEDE2000 may rise by more than 1."""

UNCHANGED_PSNR_DB: Final = 38.0
"""A clean frame above this looks the same as before."""

MIN_UNCHANGED_SHARE: Final = 0.92
"""Smallest share of clean frames that must look the same as before."""

AIM_WORSE_SHARE: Final = MAX_WORSE_SHARE / 2
AIM_CHANGED_SHARE: Final = (1 - MIN_UNCHANGED_SHARE) / 2
"""What the gate is tuned to in every source of the photos there are, so that those of others still keep the limits."""

MAX_OPENED_SHARE: Final = 0.06
"""Largest share of frames without blur, noise or blocks, in any source, that may be restored all the same: what needs
none stays above 40 dB, which hardly anybody sees."""
