"""Crops worth judging: a small grid of boxes over sizes, aspects and places, the same for every photo of a size."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import CropBox


class Aspect(StrEnum):
    """The aspect of a crop; that of a named ratio is turned upright on upright photos."""

    ORIGINAL = "original"
    FIVE_FOUR = "5:4"
    SQUARE = "1:1"


class Proposal(Config):
    """A box, and the centered box of its size that it has to beat."""

    box: CropBox
    reference: CropBox
    aspect: Aspect


_RATIOS: Final[Mapping[Aspect, float]] = {Aspect.FIVE_FOUR: 5 / 4, Aspect.SQUARE: 1.0}
_SCALES: Final[Mapping[Aspect, tuple[float, ...]]] = {
    Aspect.ORIGINAL: (0.9, 0.8, 0.7),
    Aspect.FIVE_FOUR: (1.0, 0.85),
    Aspect.SQUARE: (1.0, 0.85),
}
_PLACES: Final = (0.0, 0.5, 1.0)
_SAME_ASPECT: Final = 0.03
LEAST_SIDE_PX: Final = 32


def proposals(width: int, height: int) -> tuple[Proposal, ...]:
    """Return the boxes of a photo, the whole of it first.

    Parameters
    ----------
    width, height
        Its size in pixels, ≥ 1.

    Returns
    -------
    tuple of Proposal
        No box twice, none with a side under `LEAST_SIDE_PX` but the whole photo. A reference is its own reference.
    """
    whole = CropBox(left=0, top=0, right=width, bottom=height)
    found = {whole: Proposal(box=whole, reference=whole, aspect=Aspect.ORIGINAL)}
    for aspect, scales in _SCALES.items():
        for scale in scales:
            size = _size(width, height, aspect, scale)
            if size is None or min(size) < LEAST_SIDE_PX:
                continue
            reference = _placed(width, height, size, 0.5, 0.5)
            for box in _grid(width, height, size):
                found.setdefault(box, Proposal(box=box, reference=reference, aspect=aspect))
    return tuple(found.values())


def _size(width: int, height: int, aspect: Aspect, scale: float) -> tuple[int, int] | None:
    """Return a box's size; none where the aspect is the photo's own under another name."""
    own = width / height
    ratio = _RATIOS.get(aspect, own)
    wanted = ratio if own >= 1 else 1 / ratio
    if aspect is Aspect.ORIGINAL:
        wanted = own
    elif abs(wanted / own - 1) < _SAME_ASPECT:
        return None
    across = min(width, height * wanted)
    return min(width, round(across * scale)), min(height, round(across / wanted * scale))


def _grid(width: int, height: int, size: tuple[int, int]) -> Iterator[CropBox]:
    for down in _PLACES:
        for across in _PLACES:
            yield _placed(width, height, size, across, down)


def _placed(width: int, height: int, size: tuple[int, int], across: float, down: float) -> CropBox:
    left, top = round((width - size[0]) * across), round((height - size[1]) * down)
    return CropBox(left=left, top=top, right=left + size[0], bottom=top + size[1])
