"""Which faults a frame gets, and which part of a photo becomes a frame: all drawn from one seeded generator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Final

import cv2
import numpy as np
from pydantic import Field

from pocketcrafter.export.data.degrade import ByteImage, Faults, Frame, degrade
from pocketcrafter.export.data.noise import MAX_ENCODED_SIGMA, NoiseModel
from pocketcrafter.export.data.realism import Realism, Scene, draw_scene
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import TONAL, Attribute, EditPlan


class Focus(Enum):
    """What a set of frames is for."""

    EVERYTHING = auto()
    RESTORATION = auto()


class AmountRange(Config):
    """How strong a fault may be, in the attribute's own unit: uniform between the bounds, on either side of zero."""

    weight: float = Field(ge=0, description="Relative chance of being drawn.")
    positive: tuple[float, float] | None = Field(description="Bounds of the mending change where it is positive.")
    negative: tuple[float, float] | None = Field(None, description="Bounds of its size where it is negative.")


FAULTS: Final[Mapping[Attribute, AmountRange]] = {
    Attribute.EXPOSURE: AmountRange(weight=1.4, positive=(0.35, 2.2), negative=(0.3, 1.3)),
    Attribute.TEMPERATURE: AmountRange(weight=1.2, positive=(15, 90), negative=(15, 90)),
    Attribute.TINT: AmountRange(weight=0.8, positive=(8, 45), negative=(8, 45)),
    Attribute.CONTRAST: AmountRange(weight=1.0, positive=(0.25, 0.95), negative=(0.2, 0.6)),
    Attribute.HIGHLIGHTS: AmountRange(weight=0.4, positive=(0.2, 0.8), negative=(0.2, 0.8)),
    Attribute.SHADOWS: AmountRange(weight=0.4, positive=(0.2, 0.8), negative=(0.2, 0.8)),
    Attribute.SATURATION: AmountRange(weight=1.0, positive=(0.2, 0.95), negative=(0.15, 0.4)),
    Attribute.DEHAZE: AmountRange(weight=0.9, positive=(0.25, 0.95)),
    Attribute.DENOISE: AmountRange(weight=1.2, positive=(0.1, 1.0)),
    Attribute.DEBLUR: AmountRange(weight=1.1, positive=(0.2, 1.0)),
    Attribute.DEJPEG: AmountRange(weight=1.0, positive=(0.2, 1.0)),
}

CLEAN_SHARE: Final = 0.17
MAX_FAULTS: Final = 4
SINGLE_SHARE: Final = 0.75
"""Share of restoration's frames with one fault to restore; the others have two. Noise hides blur and blocks: where most
frames have both, a network learns nothing but to remove noise."""
TONAL_SHARE: Final = 0.4
"""Share of restoration's frames with one or two tonal faults beside."""
_RESTORED: Final[Mapping[Attribute, float]] = {
    Attribute.DENOISE: 1.0,
    Attribute.DEBLUR: 1.8,
    Attribute.DEJPEG: 1.8,
}
"""Relative chances where frames are for restoration: what is harder to learn comes more often."""
PRESET_SHARE: Final = 0.3
"""Share of white-balance faults that are a camera's preset for another light."""


def draw_faults(
    rng: np.random.Generator,
    noise_models: Sequence[NoiseModel],
    focus: Focus = Focus.EVERYTHING,
    realism: Realism | None = None,
) -> Faults:
    """Draw one frame's faults: none for `CLEAN_SHARE` of frames, else one to `MAX_FAULTS` different ones.

    With `Focus.RESTORATION` one or two of them are noise, blur or JPEG, and few are tonal. With ``realism`` faulty
    frames also get a `Scene`, and `PRESET_SHARE` of wrong white balances are those of real cameras.

    Parameters
    ----------
    rng
        Draws everything.
    noise_models
        Of cameras; one is chosen where there is noise.
    focus
        Which faults are drawn.
    realism
        Lenses and white balances of real cameras; none when `None`.
    """
    if rng.random() < CLEAN_SHARE:
        return Faults(EditPlan())
    chosen = _CHOICES[focus](rng)
    amounts = {a.value: _draw_amount(FAULTS[a], rng) for a in Attribute if a in chosen}
    if Attribute.DEHAZE in chosen and Attribute.EXPOSURE in chosen:
        # An overexposed veil is white all over: nothing is left to mend.
        amounts[Attribute.EXPOSURE] = abs(amounts[Attribute.EXPOSURE])
    if realism is not None and Attribute.TEMPERATURE in chosen and rng.random() < PRESET_SHARE:
        amounts |= _wrong_preset(realism, rng)
    plan = EditPlan(**amounts)
    noise = None
    if plan.denoise > 0:
        noise = noise_models[int(rng.integers(len(noise_models)))].scaled_to(plan.denoise * MAX_ENCODED_SIGMA)
    return Faults(
        plan,
        airlight=_draw_airlight(rng),
        motion_degrees=float(rng.uniform(0, 180)) if rng.random() < 0.5 else None,
        noise=noise,
        noise_grain=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.5 else 0.0,
        scene=draw_scene(rng, realism) if realism is not None else Scene(),
    )


def draw_frame(
    photo: ByteImage,
    side_px: int,
    rng: np.random.Generator,
    noise_models: Sequence[NoiseModel],
    focus: Focus = Focus.EVERYTHING,
    largest_px: int | None = None,
    realism: Realism | None = None,
) -> Frame:
    """Cut a square from a photo with `cut_square`, and degrade it.

    Parameters
    ----------
    photo, side_px, largest_px
        As in `cut_square`.
    rng, noise_models, focus, realism
        As in `draw_faults`.
    """
    clean = cut_square(photo, side_px, rng, largest_px)
    return degrade(clean, draw_faults(rng, noise_models, focus, realism), rng)


def degrade_small(
    clean: ByteImage,
    share: float,
    rng: np.random.Generator,
    noise_models: Sequence[NoiseModel],
    realism: Realism,
) -> Frame:
    """Degrade a reduced square as `draw_frame` would the whole one, in a fraction of its time.

    Noise and blur are weaker in proportion; of JPEG nothing is left to see, and its amounts in the frame's plan say
    nothing of the picture.

    Parameters
    ----------
    clean
        sRGB uint8, shape ``(S, S, 3)``.
    share
        Its side as a share of that of the frame it stands for.
    rng, noise_models, realism
        As in `draw_frame`.
    """
    faults = draw_faults(rng, noise_models, realism=realism)
    noise = faults.noise and faults.noise.scaled_to(faults.noise.encoded_sigma * share)
    seen = faults.plan.model_copy(update={"deblur": faults.plan.deblur * share, "dejpeg": 0.0})
    scene = replace(faults.scene, phone_quality=None)
    frame = degrade(clean, replace(faults, plan=seen, noise=noise, noise_grain=0.0, scene=scene), rng)
    return replace(frame, plan=faults.plan)


def cut_square(
    photo: ByteImage,
    side_px: int,
    rng: np.random.Generator,
    largest_px: int | None = None,
    smallest_px: int | None = None,
) -> ByteImage:
    """Cut a random square from a photo, turn it into ``side_px`` pixels (never enlarged), and mirror it or not.

    Parameters
    ----------
    photo
        sRGB uint8, shape ``(H, W, 3)``, both sides ≥ ``side_px``.
    side_px
        Side of the result.
    rng
        Source of randomness.
    largest_px
        Largest square cut, in pixels of the photo; the photo's shorter side when not given.
    smallest_px
        Smallest square cut; ``side_px`` when not given.
    """
    largest = min(*photo.shape[:2], largest_px or max(photo.shape))
    side = round(float(rng.uniform(smallest_px or side_px, largest)))
    top = int(rng.integers(photo.shape[0] - side + 1))
    left = int(rng.integers(photo.shape[1] - side + 1))
    clean = photo[top : top + side, left : left + side]
    if side != side_px:
        clean = cv2.resize(clean, (side_px, side_px), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        clean = clean[:, ::-1]
    return np.ascontiguousarray(clean)


def _choose_any(rng: np.random.Generator) -> set[Attribute]:
    return _choose({a: FAULTS[a].weight for a in Attribute}, int(rng.integers(1, MAX_FAULTS + 1)), rng)


def _choose_restored(rng: np.random.Generator) -> set[Attribute]:
    chosen = _choose(_RESTORED, 1 if rng.random() < SINGLE_SHARE else 2, rng)
    if rng.random() < TONAL_SHARE:
        chosen |= _choose({a: FAULTS[a].weight for a in TONAL}, int(rng.integers(1, 3)), rng)
    return chosen


def _choose(chances: Mapping[Attribute, float], count: int, rng: np.random.Generator) -> set[Attribute]:
    weights = np.array([*chances.values()])
    return {[*chances][i] for i in rng.choice(len(weights), count, replace=False, p=weights / weights.sum())}


_CHOICES: Final[Mapping[Focus, Callable[[np.random.Generator], set[Attribute]]]] = {
    Focus.EVERYTHING: _choose_any,
    Focus.RESTORATION: _choose_restored,
}


def _draw_amount(amount: AmountRange, rng: np.random.Generator) -> float:
    sides = [(sign, bounds) for sign, bounds in ((1, amount.positive), (-1, amount.negative)) if bounds is not None]
    sign, (low, high) = sides[rng.integers(len(sides))]
    return float(sign * rng.uniform(low, high))


def _wrong_preset(realism: Realism, rng: np.random.Generator) -> dict[str, float]:
    """Draw a white balance that is wrong by a camera's presets, no further than a fault of its own would be."""
    drawn = zip((Attribute.TEMPERATURE, Attribute.TINT), realism.wrong_white_balance(rng), strict=True)
    limits = {a: (FAULTS[a].positive or (0.0, 0.0))[1] for a in (Attribute.TEMPERATURE, Attribute.TINT)}
    return {a.value: float(np.clip(mired, -limits[a], limits[a])) for a, mired in drawn}


def _draw_airlight(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw a veil: nearly gray, a little darker or brighter than the renderer's, more often bluish than reddish."""
    gray = rng.uniform(0.74, 0.86)
    blue = rng.normal(0.02, 0.03)
    r, g, b = np.clip([gray * (1 - blue), gray, gray * (1 + blue)], 0.5, 1.0)
    return float(r), float(g), float(b)
