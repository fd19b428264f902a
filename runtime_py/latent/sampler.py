"""Denoises latents step by step, from noise that is the same wherever it is drawn."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.latent.settings import StepSettings

_BITS: Final = 53
"""Of an uniform number in float64."""


class Noise:
    """Normal noise from Philox 4x64 and the Box-Muller transform, both simple to write in any language.

    Parameters
    ----------
    seed
        The generator's key. Its counter starts at zero and is raised before each block of four words, as numpy does.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)

    def draw(self, shape: Sequence[int]) -> FloatArray:
        """Return the next numbers, float32; each call takes an even count of them off the stream.

        Parameters
        ----------
        shape
            Of what is returned.
        """
        count = int(np.prod(shape))
        pairs = -(-count // 2)
        words = self._bits.random_raw(2 * pairs).reshape(2, pairs) >> np.uint64(64 - _BITS)
        first, second = words.astype(np.float64)
        # The first lies in (0, 1]: the logarithm of 0 would be infinite.
        radius, angle = np.sqrt(-2 * np.log((first + 1) * 2.0**-_BITS)), 2 * np.pi * (second * 2.0**-_BITS)
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        drawn: FloatArray = normal.astype(np.float32).reshape(shape)
        return drawn


def denoise(
    latents: FloatArray,
    steps: Sequence[StepSettings],
    predict: Callable[[FloatArray, float], FloatArray],
    noise: Noise,
) -> FloatArray:
    """Carry out all steps.

    Parameters
    ----------
    latents
        Where they begin, float32.
    steps
        Factors of each step.
    predict
        The network: of the scaled latents and the timestep.
    noise
        Where steps that add noise draw it.
    """
    for step in steps:
        prediction = predict(latents * np.float32(step.scale), step.timestep)
        latents = latents * np.float32(step.keep) + prediction * np.float32(step.move)
        if step.noise:
            latents += noise.draw(latents.shape) * np.float32(step.noise)
    return latents
