"""Before/after contact sheets: pairs side by side on neutral grey, the plan in words under each."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pocketcrafter.runtime.photo.color import handling_of, pixels_to_srgb, to_eight_bits
from pocketcrafter.runtime.photo.encode import encode
from pocketcrafter.runtime.photo.model import Photo, format_of

PAIRS_PER_PAGE: Final = 12

_THUMB_PX: Final = (480, 360)
_GAP_PX: Final = 8
_MARGIN_PX: Final = 40
_CAPTION_PX: Final = 78
_LEAST_COLUMN_PX: Final = 200
_PAPER: Final = (236, 236, 236)
_INK: Final = (28, 28, 28)
_FAINT: Final = (110, 110, 110)


@dataclass(frozen=True)
class Pair:
    """One row of a sheet: two thumbnails, a name and the plan in words."""

    before: Image.Image
    after: Image.Image
    name: str
    words: str


def pair_of(before: Photo, after: Photo, words: str, name: str) -> Pair:
    """Scale a photo and its enhanced self down to a pair, in sRGB; transparency is laid over the sheet's paper.

    Parameters
    ----------
    before, after
        The photo and its enhanced self; any size.
    words
        What was carried out; stands under the pair.
    name
        What stands above the pair.
    """
    return Pair(_thumbnail(before), _thumbnail(after), name, words)


def write_sheet(pairs: list[Pair], path: Path) -> list[Path]:
    """Write the pairs as one or more pages.

    Parameters
    ----------
    pairs
        What to show, in order; at least one.
    path
        The first page, JPEG or PNG (or another photo format) by its suffix; see :func:`page_paths` for more pages.

    Returns
    -------
    list of Path
        The pages written.

    Raises
    ------
    PhotoError
        If a page cannot be written.
    """
    pages = page_paths(path, len(pairs))
    for number, page in enumerate(pages):
        shown = pairs[number * PAIRS_PER_PAGE : (number + 1) * PAIRS_PER_PAGE]
        encode(Photo(pixels=np.asarray(_page(shown))), page)
    return pages


def page_paths(path: Path, pairs: int) -> list[Path]:
    """Return the pages that a number of pairs needs: ``path``, then ``<name>-2`` and so on.

    Raises
    ------
    PhotoError
        If the suffix is not a photo format's.
    """
    format_of(path)
    count = -(-pairs // PAIRS_PER_PAGE)
    return [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, count + 1))]


def _page(pairs: list[Pair]) -> Image.Image:
    columns = 1 if len(pairs) <= 3 else 2
    rows = -(-len(pairs) // columns)
    heights = [
        max(_picture_height(p) for p in pairs[row * columns : (row + 1) * columns]) + _CAPTION_PX for row in range(rows)
    ]
    pair_width = 2 * _THUMB_PX[0] + _GAP_PX
    size = (columns * (pair_width + _MARGIN_PX) + _MARGIN_PX, sum(heights) + (rows + 1) * _MARGIN_PX)
    page = Image.new("RGB", size, _PAPER)
    top = _MARGIN_PX
    for row, height in enumerate(heights):
        for column, pair in enumerate(pairs[row * columns : (row + 1) * columns]):
            _draw(page, pair, _MARGIN_PX + column * (pair_width + _MARGIN_PX), top, height - _CAPTION_PX)
        top += height + _MARGIN_PX
    return page


def _draw(page: Image.Image, pair: Pair, left: int, top: int, picture_height: int) -> None:
    draw = ImageDraw.Draw(page)
    small, large = ImageFont.load_default(17), ImageFont.load_default(21)
    width = 2 * _THUMB_PX[0] + _GAP_PX
    text_top = top + picture_height + 10
    for picture, label, x in (
        (pair.before, f"before: {_in_ascii(pair.name)}", left),
        (pair.after, "after", left + max(pair.before.width, _LEAST_COLUMN_PX) + _GAP_PX),
    ):
        page.paste(picture, (x, top + picture_height - picture.height))
        room = max(picture.width, _LEAST_COLUMN_PX)
        draw.text((x, text_top), _fitted(label, small, room), font=small, fill=_FAINT)
    for line, words in enumerate(_wrapped(pair.words, large, width)[:2]):
        draw.text((left, text_top + 22 + 25 * line), words, font=large, fill=_INK)


def _picture_height(pair: Pair) -> int:
    return max(pair.before.height, pair.after.height)


def _thumbnail(photo: Photo) -> Image.Image:
    image = Image.fromarray(np.asarray(to_eight_bits(photo.pixels)))
    if photo.alpha is not None:
        paper = Image.new("RGB", image.size, _PAPER)
        paper.paste(image, mask=Image.fromarray(to_eight_bits(photo.alpha)))
        image = paper
    scale = min(_THUMB_PX[0] / image.width, _THUMB_PX[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if photo.icc is None or handling_of(photo.icc) == "srgb":
        return small
    return Image.fromarray(pixels_to_srgb(np.asarray(small), photo.icc))


def _in_ascii(name: str) -> str:
    """Return a name in letters that Pillow's own font has: accents are left off, other scripts are question marks."""
    letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return "".join(letters).encode("ascii", "replace").decode("ascii")


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for part in text.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines
