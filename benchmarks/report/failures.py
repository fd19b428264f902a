"""The worst frames of a quality measurement, cut from their sheet and carried inside the report."""

import base64
import io
from dataclasses import dataclass
from typing import Final

from PIL import Image

from pocketcrafter.benchmarks.quality.gallery import Gallery, GalleryEntry

_JPEG_QUALITY: Final = 82


@dataclass(frozen=True)
class Failure:
    """One frame: what is said of it, and its three pictures as ``data:`` addresses, ``side`` pixels square."""

    entry: GalleryEntry
    before: str
    after: str
    clean: str
    side: int


def failures_of(gallery: Gallery, sheet: Image.Image) -> list[Failure]:
    """Cut a gallery's frames out of its sheet, the worst first."""
    side, found = gallery.picture_px, []
    for entry in gallery.entries:
        before, after, clean = (_cut(sheet, left, entry.top, side) for left in entry.left)
        found.append(Failure(entry, before, after, clean, side))
    return found


def _cut(sheet: Image.Image, left: int, top: int, side: int) -> str:
    out = io.BytesIO()
    sheet.crop((left, top, left + side, top + side)).save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
