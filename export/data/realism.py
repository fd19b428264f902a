"""What real pictures suffer from besides the faults that a plan names: lenses, uneven light, camera curves, phones.

A plan cannot mend them, so that the critic must see past them; the tone grid may mend some of the light.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pocketcrafter.export.data.lens import Lens, load_lenses
from pocketcrafter.export.data.sources import LENSES_FILE, PRESETS_FILE
from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

_LOCAL_LIGHT_EV: Final = 0.5
_CURVE_SIGMA: Final = 0.02
_PHONE_QUALITY: Final = (82, 95)
_SHADE_GRID: Final = 3
_CURVE_KNOTS: Final = 5


@dataclass(frozen=True)
class Realism:
    """Measured cameras and lenses to draw from.

    Attributes
    ----------
    lenses
        Lenses at single focal lengths.
    presets
        For each camera its white-balance presets: multipliers of R and B over that of G, shape ``(P, 2)``.
    """

    lenses: tuple[Lens, ...]
    presets: tuple[npt.NDArray[np.float64], ...]

    def wrong_white_balance(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw temperature and tint, in mired, that mend a picture taken with another preset of the same camera."""
        camera = self.presets[rng.integers(len(self.presets))]
        right, wrong = camera[rng.choice(len(camera), 2, replace=False)]
        return mired_of(right / wrong)


@dataclass(frozen=True)
class Scene:
    """One frame's unnamed troubles; each may be absent.

    Attributes
    ----------
    lens
        What it was taken with.
    light_ev
        Uneven light: EV at the knots of a coarse grid, shape ``(3, 3)``.
    curve
        A camera's own curve: offsets of encoded tone at knots that are evenly spaced over [0, 1].
    phone_quality
        JPEG quality of a phone that smooths color noise and sharpens before it saves.
    """

    lens: Lens | None = None
    light_ev: FloatArray | None = None
    curve: tuple[float, ...] | None = None
    phone_quality: int | None = None


def load_realism(data: Path) -> Realism:
    """Read what `data prepare` put beside the photos.

    Raises
    ------
    ConfigError
        If a file is missing or damaged.
    """
    return Realism(load_lenses(data / LENSES_FILE), load_presets(data / PRESETS_FILE))


def load_presets(path: Path) -> tuple[npt.NDArray[np.float64], ...]:
    """Read darktable's white-balance presets: cameras with at least two of them.

    Raises
    ------
    ConfigError
        If the file is missing or damaged.
    """
    try:
        makers = json.loads(path.read_text(encoding="utf-8"))["wb_presets"]
        cameras = [
            [preset["channels"][:3] for preset in model["presets"] if not preset.get("tuning")]
            for maker in makers
            for model in maker["models"]
        ]
        multipliers = [np.array(camera, dtype=np.float64).reshape(-1, 3) for camera in cameras if len(camera) > 1]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: no list of white-balance presets; `pocketcrafter data prepare` puts it there."
        ) from error
    usable = [m for m in multipliers if np.isfinite(m).all() and (m > 0).all()]
    if not usable:
        raise ConfigError(f"{path}: no camera with two presets; `pocketcrafter data prepare` fetches the file again.")
    return tuple(m[:, [0, 2]] / m[:, 1:2] for m in usable)


def mired_of(gains: Sequence[float] | npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return temperature and tint in mired whose gains of R and B over G, in linear light, are those given."""
    red, green, blue = tm.LOG2_GAIN_PER_MIRED
    equations = np.array([[red - green, -tm.LOG2_GREEN_PER_MIRED], [blue - green, -tm.LOG2_GREEN_PER_MIRED]])
    temperature, tint = np.linalg.solve(equations, np.log2(np.asarray(gains, dtype=np.float64)))
    return float(temperature), float(tint)


def draw_scene(rng: np.random.Generator, realism: Realism) -> Scene:
    """Draw a frame's unnamed troubles: each with a probability of its own, none in a third of frames."""
    lens, light, curve, phone = rng.random(4) < (0.3, 0.25, 0.25, 0.25)
    return Scene(
        lens=realism.lenses[rng.integers(len(realism.lenses))] if lens else None,
        light_ev=_draw_light(rng) if light else None,
        curve=tuple(rng.normal(0, _CURVE_SIGMA, _CURVE_KNOTS)) if curve else None,
        phone_quality=int(rng.integers(*_PHONE_QUALITY)) if phone else None,
    )


def lit(linear: FloatArray, scene: Scene) -> FloatArray:
    """Apply uneven light and the lens to linear light, shape ``(H, W, 3)``."""
    if scene.light_ev is not None:
        field = cv2.resize(scene.light_ev, linear.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        linear = (linear * np.exp2(field)[..., None]).astype(np.float32)
    return linear if scene.lens is None else scene.lens.through(linear)


def curved(encoded: FloatArray, scene: Scene) -> FloatArray:
    """Apply the camera's curve to encoded tones in [0, 1], of any shape; black and white stay."""
    if scene.curve is None:
        return encoded
    knots = np.linspace(0, 1, len(scene.curve) + 2)
    offsets = np.interp(encoded, knots, [0.0, *scene.curve, 0.0])
    return np.clip(encoded + offsets, 0, 1).astype(np.float32)


def phone_finish(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Smooth color and sharpen luma of sRGB uint8 ``(H, W, 3)``, as a phone does before it saves a picture."""
    ycc = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    ycc[..., 1:] = cv2.GaussianBlur(ycc[..., 1:], (0, 0), 1.5)
    soft = cv2.GaussianBlur(ycc[..., 0], (0, 0), 1.2)
    ycc[..., 0] = cv2.addWeighted(ycc[..., 0], 1.5, soft, -0.5, 0)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _draw_light(rng: np.random.Generator) -> FloatArray:
    field = rng.normal(0, _LOCAL_LIGHT_EV, (_SHADE_GRID, _SHADE_GRID))
    # Without a mean: the mean is exposure, which a plan names.
    return np.asarray(field - field.mean(), dtype=np.float32)
