"""Calibration data: what schemes read from them, and which are refused because no range can be read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray, FloatArray
from pocketcrafter.runtime.errors import CalibrationError

if TYPE_CHECKING:
    from pocketcrafter.quantize.algorithms.hessians import Hessians

MIN_SAMPLES: Final = 4
"""Fewer photos do not show what other photos look like; 32 are usual."""

_SHARE: Final = 4
_MOST: Final = 8


@dataclass(frozen=True)
class Calibration:
    """What is known of a network's inputs and of those of its layers.

    Attributes
    ----------
    samples
        Inputs of the network: float32 arrays by name, in calling order; static schemes read activation ranges from
        them.
    hessians
        Hessians of linear layers by their qualified names; GPTQ rounds weights by them.
    """

    samples: Sequence[Mapping[str, FloatArray]] = ()
    hessians: "Hessians" = field(default_factory=dict)


def held_back(samples: int) -> int:
    """Return how many samples, the last ones, are left out of calibration to measure with: a quarter, one to eight."""
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
        If there are fewer than four samples, or an input is not finite, or is one constant in all samples.
    """
    if len(calibration) < MIN_SAMPLES:
        raise CalibrationError(
            f"Static quantization needs at least {MIN_SAMPLES} calibration samples and got {len(calibration)}: give "
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
