"""Tilt and framing: photos turned by known angles and pairs of crops, and how the composition network judges them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.geometry.composer import compose, score_of, tilt_of
from pocketcrafter.runtime.geometry.decide import TiltOpinion
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox

MAX_TILT_DEGREES: Final = 8.0
SCALE: Final = 0.85
"""Side of the compared crops as a share of the photo's: what the shifted ones lose is at most 15 % of a side."""
_BORDER: Final = 0.02
_LEAST_SHIFT: Final = 0.5

TILT_MAE_DEGREES: Final = 1.5
SUREST_SHARE: Final = 0.4
ORIGINAL_WINS: Final = 0.75
_GROSS_DEGREES: Final = 3.0


def tilted(pixels: ByteImage, count: int, rng: np.random.Generator) -> Iterator[tuple[ByteImage, float]]:
    """Yield a photo tilted by angles spread evenly over ±8°, one drawn from each of ``count`` equal parts.

    Every frame is the largest of the photo's aspect, and all are resampled alike.

    Parameters
    ----------
    pixels
        sRGB uint8 ``(H, W, 3)``.
    count
        How many frames.
    rng
        Draws the angles.

    Yields
    ------
    tuple
        The frame, and the clockwise turn in degrees that levels it again if the photo was level.
    """
    height, width = pixels.shape[:2]
    edges = np.linspace(-MAX_TILT_DEGREES, MAX_TILT_DEGREES, count + 1)
    for low, high in pairwise(edges):
        degrees = float(rng.uniform(low, high))
        yield cut(pixels, inscribed_box(width, height, degrees), -degrees), degrees


def framed(pixels: ByteImage, count: int, rng: np.random.Generator) -> tuple[ByteImage, list[ByteImage]]:
    """Cut the centered crop of a photo and ``count`` shifted ones of its size.

    None shows the outermost 2 % of the photo. A shift goes in any direction, by half to all of the room there is.

    Parameters
    ----------
    pixels
        sRGB uint8 ``(H, W, 3)``.
    count
        How many shifted crops.
    rng
        Draws directions and distances.
    """
    height, width = pixels.shape[:2]
    centered = _crop(pixels, width, height, np.zeros(2))
    shifts = []
    for _ in range(count):
        direction = rng.uniform(-1, 1, 2)
        shifts.append(direction / np.abs(direction).max() * rng.uniform(_LEAST_SHIFT, 1.0))
    return centered, [_crop(pixels, width, height, shift) for shift in shifts]


def _crop(pixels: ByteImage, width: int, height: int, shift: npt.NDArray[np.float64]) -> ByteImage:
    starts, sizes = [], []
    for side, part in zip((width, height), shift, strict=True):
        room = (1 - 2 * _BORDER) * side
        size = round(SCALE * room)
        starts.append(round(side / 2 + part * (room - size) / 2 - size / 2))
        sizes.append(size)
    box = CropBox(left=starts[0], top=starts[1], right=starts[0] + sizes[0], bottom=starts[1] + sizes[1])
    return cut(pixels, box)


class TiltedFrame(Config):
    """One tilted frame and what was made of it."""

    true_degrees: float
    opinion: TiltOpinion


class PhotoFigures(Config):
    """What was measured on one photo."""

    photo: str
    tilted: tuple[TiltedFrame, ...]
    original_wins: tuple[bool, ...] = Field(
        description="For each shifted crop: whether the centered one scores higher."
    )
    turned_degrees: float = Field(description="What the photo as it is would be turned by.")
    cropped: bool = Field(description="Whether the photo as it is would be cropped.")


class Figures(Config):
    """Means over a split."""

    photos: int
    tilt_mae_degrees: float = Field(description="Over all frames, sure or not.")
    zero_mae_degrees: float = Field(description="Of always answering 0.")
    surest_mae_degrees: float = Field(description="Over the 40 % of frames whose answers are the surest.")
    sure_share: float = Field(description="Share of frames on which the network is sure.")
    sure_mae_degrees: float | None = Field(description="Over those frames; none where there are none.")
    sure_right_share: float | None = Field(description="Share of them that are right to 1.5°.")
    sure_gross_share: float | None = Field(description="Share of them that are wrong by more than 3°.")
    turned_share: float = Field(description="Share of frames that would be turned: sure, and tilted enough.")
    turned_before_degrees: float | None = Field(description="Their mean tilt; none where there are none.")
    turned_left_degrees: float | None = Field(description="What is left of it after the turn.")
    turned_worse_share: float | None = Field(description="Share of them that are tilted by over 1° more afterwards.")
    originals_turned_share: float = Field(description="Share of the untouched photos that would be turned.")
    original_wins_share: float = Field(description="Share of shifted crops that the centered one of its size beats.")
    original_stays_share: float = Field(description="Share of the untouched photos that would not be cropped.")


class CompositionReport(Config):
    """What the command prints as JSON."""

    figures: Figures
    photos: tuple[PhotoFigures, ...]


def measure(session: Session, photos: Iterable[Path], per_photo: int, seed: int) -> list[PhotoFigures]:
    """Measure photos one by one; the frames depend on the seed and the photo's place alone.

    Parameters
    ----------
    session
        The composition network.
    photos
        Files of photos.
    per_photo
        Tilted frames, and shifted crops, of each photo.
    seed
        Of the frames.
    """
    return [_measure_one(session, path, per_photo, np.random.default_rng([seed, i])) for i, path in enumerate(photos)]


def summarize(measured: Sequence[PhotoFigures]) -> Figures:
    """Return the means."""
    frames = [frame for photo in measured for frame in photo.tilted]
    errors = np.array([abs(f.opinion.degrees - f.true_degrees) for f in frames])
    tilts = np.array([abs(f.true_degrees) for f in frames])
    sure = np.array([f.opinion.sure for f in frames])
    turned = np.array([f.opinion.turn != 0 for f in frames])
    ranked = np.argsort([-f.opinion.confidence for f in frames], kind="stable")
    surest = ranked[: math.ceil(SUREST_SHARE * len(frames))]

    return Figures(
        photos=len(measured),
        tilt_mae_degrees=float(errors.mean()),
        zero_mae_degrees=float(tilts.mean()),
        surest_mae_degrees=float(errors[surest].mean()),
        sure_share=float(sure.mean()),
        sure_mae_degrees=_mean(errors[sure]),
        sure_right_share=_mean(errors[sure] < TILT_MAE_DEGREES),
        sure_gross_share=_mean(errors[sure] > _GROSS_DEGREES),
        turned_share=float(turned.mean()),
        turned_before_degrees=_mean(tilts[turned]),
        turned_left_degrees=_mean(errors[turned]),
        turned_worse_share=_mean(errors[turned] > tilts[turned] + 1),
        originals_turned_share=float(np.mean([photo.turned_degrees != 0 for photo in measured])),
        original_wins_share=float(np.mean([won for photo in measured for won in photo.original_wins])),
        original_stays_share=float(np.mean([not photo.cropped for photo in measured])),
    )


def missed_bars(figures: Figures) -> list[str]:
    """Return the bars that are not reached, in words."""
    missed = []
    if figures.surest_mae_degrees > TILT_MAE_DEGREES:
        where = f"where it is surest, over {SUREST_SHARE:.0%} of frames"
        missed.append(f"tilt MAE ≤ {TILT_MAE_DEGREES}° {where} (is {figures.surest_mae_degrees:.2f}°)")
    if figures.original_wins_share < ORIGINAL_WINS:
        missed.append(f"original beats shifted crops ≥ {ORIGINAL_WINS:.0%} (is {figures.original_wins_share:.1%})")
    return missed


def table(figures: Figures) -> str:
    """Return the means as a Markdown table."""
    rows = [
        ("tilt, all frames: MAE", f"{figures.tilt_mae_degrees:.2f}° (always 0: {figures.zero_mae_degrees:.2f}°)"),
        (f"MAE over the {SUREST_SHARE:.0%} it is surest of", f"{figures.surest_mae_degrees:.2f}°"),
        ("frames it is sure of", f"{figures.sure_share:.0%}"),
        ("MAE over those", _or_none(figures.sure_mae_degrees, "{:.2f}°")),
        ("of those right to 1.5°", _or_none(figures.sure_right_share, "{:.0%}")),
        ("of those wrong by over 3°", _or_none(figures.sure_gross_share, "{:.0%}")),
        ("frames that would be turned", f"{figures.turned_share:.1%}"),
        ("mean tilt of those, before", _or_none(figures.turned_before_degrees, "{:.2f}°")),
        ("mean tilt of those, left", _or_none(figures.turned_left_degrees, "{:.2f}°")),
        ("of those worse by over 1°", _or_none(figures.turned_worse_share, "{:.0%}")),
        ("untouched photos that would be turned", f"{figures.originals_turned_share:.0%}"),
        ("original beats shifted crops of its size", f"{figures.original_wins_share:.1%}"),
        ("untouched photos that would not be cropped", f"{figures.original_stays_share:.0%}"),
    ]
    return "\n".join(
        [f"| {figures.photos} photos | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    )


def _measure_one(session: Session, path: Path, per_photo: int, rng: np.random.Generator) -> PhotoFigures:
    pixels = read_pixels(path)
    unsure = TiltOpinion(degrees=0.0, confidence=0.0)
    frames = tuple(
        TiltedFrame(true_degrees=degrees, opinion=tilt_of(session, Photo(frame)) or unsure)
        for frame, degrees in tilted(pixels, per_photo, rng)
    )
    centered, shifted = framed(pixels, per_photo, rng)
    own = score_of(session, Photo(centered))
    composed = compose(session, Photo(pixels), crop=True)
    return PhotoFigures(
        photo=path.name,
        tilted=frames,
        original_wins=tuple(own > score_of(session, Photo(crop)) for crop in shifted),
        turned_degrees=composed.turn_degrees if composed else 0.0,
        cropped=bool(composed and composed.cropped),
    )


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _or_none(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)
