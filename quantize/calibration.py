"""What calibration data must be, so that the ranges read from it mean something."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray
from pocketcrafter.runtime.errors import CalibrationError

LEAST_SAMPLES: Final = 4
"""Fewer photos do not show what others look like; 32 are usual."""

_SHARE: Final = 4
_MOST: Final = 8


def held_back(samples: int) -> int:
    """Return how many samples, the last ones, are not calibrated with: a quarter, one to eight; they measure."""
    return min(max(1, samples // _SHARE), _MOST)


def check_samples(calibration: Sequence[Mapping[str, AnyFloatArray]]) -> None:
    """Refuse samples that no range can be read from.

    Parameters
    ----------
    calibration
        Inputs by name.

    Raises
    ------
    CalibrationError
        If there are fewer than four samples, or an input is one and the same number in all of them, or is not finite.
    """
    if len(calibration) < LEAST_SAMPLES:
        raise CalibrationError(
            f"Static quantization needs at least {LEAST_SAMPLES} calibration samples and got {len(calibration)}: give "
            "more photos, or set `samples` higher (32 are usual)."
        )
    for name in calibration[0]:
        arrays = [sample[name] for sample in calibration]
        if not all(np.isfinite(array).all() for array in arrays):
            raise CalibrationError(f"Calibration input `{name}` is not finite somewhere: look at what makes it.")
        first = float(arrays[0].flat[0])
        if all((array == first).all() for array in arrays):
            raise CalibrationError(
                f"Calibration input `{name}` is {first:g} everywhere in all {len(calibration)} samples, which leaves "
                "it no range: calibrate with photos in which it varies."
            )
