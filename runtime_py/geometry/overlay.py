"""The evidence, drawn: what was seen as level, the boxes that were judged, the chosen one and its thirds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pocketcrafter.runtime.geometry.composer import Composed
from pocketcrafter.runtime.geometry.turn import Point, corners_in_source, to_source, working_copy
from pocketcrafter.runtime.photo.encode import encode
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox

_JUDGED: Final = (150, 150, 150)
_CHOSEN: Final = (255, 214, 64)
_LEVEL: Final = (90, 200, 255)
_INK: Final = (240, 240, 240)
_PAPER: Final = (30, 30, 30)
_CAPTION_PX: Final = 76
_LEAST_WIDTH_PX: Final = 480
_SHOWN: Final = 6
_THIRDS: Final = (1 / 3, 2 / 3)


def draw_overlay(photo: Photo, composed: Composed) -> Image.Image:
    """Draw the evidence on a small copy of the photo as it came: sRGB, its longer side 768 px at most, and a caption.

    Parameters
    ----------
    photo
        The photo that was looked at.
    composed
        What was found out about it.
    """
    small = Image.fromarray(working_copy(photo))
    scale = small.width / photo.width
    page = Image.new("RGB", (max(small.width, _LEAST_WIDTH_PX), small.height + _CAPTION_PX), _PAPER)
    page.paste(small, (0, 0))
    draw = ImageDraw.Draw(page)

    def outline(box: CropBox, color: tuple[int, int, int], width: int) -> None:
        corners = corners_in_source(box, photo.width, photo.height, composed.turn_degrees)
        _polygon(draw, [(x * scale, y * scale) for x, y in corners], color, width)

    for ranked in composed.ranked[:_SHOWN]:
        outline(ranked.box, _JUDGED, 1)
    if composed.tilt.sure:
        ends = [(0.0, photo.height / 2), (float(photo.width), photo.height / 2)]
        line = [to_source(end, photo.width, photo.height, composed.tilt.degrees) for end in ends]
        draw.line([(x * scale, y * scale) for x, y in line], fill=_LEVEL, width=2)
    kept = composed.box or CropBox(left=0, top=0, right=photo.width, bottom=photo.height)
    outline(kept, _CHOSEN, 3)
    for share in _THIRDS:
        across, down = kept.left + share * (kept.right - kept.left), kept.top + share * (kept.bottom - kept.top)
        for ends in (
            [(across, float(kept.top)), (across, float(kept.bottom))],
            [(float(kept.left), down), (float(kept.right), down)],
        ):
            line = [to_source(end, photo.width, photo.height, composed.turn_degrees) for end in ends]
            draw.line([(x * scale, y * scale) for x, y in line], fill=_CHOSEN, width=1)
    font = ImageFont.load_default(16)
    for row, words in enumerate(captions(composed)):
        draw.text((8, small.height + 6 + 22 * row), words, font=font, fill=_INK)
    return page


def write_overlay(photo: Photo, composed: Composed, path: Path) -> None:
    """Write the drawing as a photo file; whole or not at all.

    Parameters
    ----------
    photo
        The photo before it is turned and cropped.
    composed
        What the composition came to.
    path
        Where to; the suffix decides the format.

    Raises
    ------
    PhotoError
        If the suffix is not a photo's, or the file cannot be written.
    """
    encode(Photo(pixels=np.asarray(draw_overlay(photo, composed))), path)


def captions(composed: Composed) -> list[str]:
    """Return the lines under the drawing: the tilt, the crop, and its first reason."""
    tilt = composed.tilt
    seen = f"tilt {tilt.degrees:+.1f}°, confidence {tilt.confidence:.0%}"
    verdict = (
        f"turned {composed.turn_degrees:+.1f}°" if composed.turn_degrees else "left" if tilt.sure else "not sure: left"
    )
    lines = [f"{seen}: {verdict}"]
    if composed.ranked:
        crop = "cropped" if composed.cropped else "the original stays"
        lines.append(f"{crop}; best of {len(composed.ranked)} boxes: worth {composed.ranked[0].worth:+.2f}")
    return lines + [reason.words for reason in composed.reasons[:1]]


def _polygon(draw: ImageDraw.ImageDraw, corners: Sequence[Point], color: tuple[int, int, int], width: int) -> None:
    draw.line([*corners, corners[0]], fill=color, width=width, joint="curve")
