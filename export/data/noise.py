"""Sensor noise from measured camera profiles: Poisson-Gaussian, in linear light."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

MAX_ENCODED_SIGMA: Final = 0.08
"""Noise standard deviation at mid-grey, in sRGB-encoded units, at denoise = 1."""

_MID_GRAY: Final = 0.18
_ENCODED_SLOPE_AT_MID_GRAY: Final = 1.055 / 2.4 * _MID_GRAY ** (1 / 2.4 - 1)


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a linear-light value ``x``: ``a·x + b`` per channel R, G, B (Foi et al., TIP 2008)."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]

    @property
    def encoded_sigma(self) -> float:
        """Standard deviation of green at mid-grey after sRGB encoding."""
        return float(np.sqrt(self.a[1] * _MID_GRAY + max(self.b[1], 0.0)) * _ENCODED_SLOPE_AT_MID_GRAY)

    def scaled_to(self, encoded_sigma: float) -> "NoiseModel":
        """Return the same sensor at the gain that gives this standard deviation at mid-grey."""
        factor = (encoded_sigma / self.encoded_sigma) ** 2
        r, g, b = (v * factor for v in self.a)
        br, bg, bb = (v * factor for v in self.b)
        return NoiseModel((r, g, b), (br, bg, bb))


def load_noise_models(path: Path) -> tuple[NoiseModel, ...]:
    """Read darktable's measured camera profiles.

    Parameters
    ----------
    path
        ``noiseprofiles.json`` (darktable, version 0 layout).

    Raises
    ------
    ConfigError
        If the file is missing or damaged, or holds no usable profile.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing; `pocketcrafter data prepare` puts it there.")
    try:
        makers = json.loads(path.read_text(encoding="utf-8"))["noiseprofiles"]
        profiles = [profile for maker in makers for camera in maker["models"] for profile in camera["profiles"]]
        models = [
            NoiseModel(tuple(profile["a"]), tuple(profile["b"]))
            for profile in profiles
            if not profile.get("skip") and len(profile["a"]) == len(profile["b"]) == 3 and min(profile["a"]) > 0
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not darktable's list of noise profiles; fetch it again with `pocketcrafter data prepare`."
        ) from error
    if not models:
        raise ConfigError(f"{path} holds no usable noise profile; fetch it again with `pocketcrafter data prepare`.")
    return tuple(models)


def add_noise(linear: FloatArray, model: NoiseModel, grain: float, rng: np.random.Generator) -> FloatArray:
    """Add Gaussian noise of signal-dependent variance.

    Parameters
    ----------
    linear
        Linear-light RGB, shape ``(H, W, 3)``, in [0, 1].
    model
        Variance per channel.
    grain
        Standard deviation in pixels of the blur that demosaicing leaves in the noise, whose variance is kept; 0 for
        white noise.
    rng
        Source of randomness.

    Returns
    -------
    FloatArray
        Same shape, clipped to [0, 1] as a sensor clips.
    """
    a, b = np.array(model.a, dtype=np.float32), np.array(model.b, dtype=np.float32)
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    if grain > 0:
        noise = cv2.GaussianBlur(noise, (5, 5), grain)
        noise /= noise.std()
    sigma = np.sqrt(np.maximum(a * linear + b, 1e-10))
    noisy: FloatArray = np.clip(linear + sigma * noise, 0, 1)
    return noisy
