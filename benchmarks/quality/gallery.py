"""The failure gallery: the frames that came out worst, beside what they were and should have been, for all to see."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.result_files import Name
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, Outcome
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.manifest import PhotoRecord
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.critique import describe
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes, write_text
from pocketcrafter.runtime.validation import check_json

WORST: Final = 10
SPREAD: Final = 6
SHEET_NAME: Final = "worst.jpg"
RESULT_NAME: Final = "worst.json"

_PICTURE_PX: Final = 320
_GAP_PX: Final = 8
_MARGIN_PX: Final = 24
_CAPTION_PX: Final = 112
_PAPER: Final = (236, 236, 236)
_INK: Final = (28, 28, 28)
_FAINT: Final = (96, 96, 96)
_COLUMNS: Final = ("before", "after", "clean")
_JPEG_QUALITY: Final = 88
_MOST_BYTES: Final = 64 << 20

Pixels = Annotated[int, Field(ge=0, le=1 << 16)]
Text = Annotated[str, Field(max_length=2000)]


class GalleryEntry(Config):
    """One frame of the gallery."""

    kind: FrameKind
    photo: Name
    repeat: int
    true_plan: Text = Field(description="What would have mended it, in words.")
    carried_out: Text = Field(description="What was done, in words.")
    delta_e_before: float
    delta_e_after: float
    credit: Text = Field(description="Photographer, license and source.")
    left: tuple[Pixels, Pixels, Pixels] = Field(description="Left edges on the sheet: before, after, clean.")
    top: Pixels = Field(description="Upper edge of the three pictures on the sheet.")


class Gallery(Config):
    """What lies beside the sheet."""

    schema_version: Literal[1] = 1
    sheet: Literal["worst.jpg"] = SHEET_NAME
    picture_px: int = Field(_PICTURE_PX, ge=1, le=4096, description="Side of each picture on the sheet.")
    entries: tuple[GalleryEntry, ...] = Field(
        min_length=1, max_length=1000, description="In the order that was asked for."
    )


def worst_frames(qualities: Sequence[FrameQuality], most: int = WORST) -> list[FrameQuality]:
    """Return the frames whose mean CIEDE2000 rose most, the worst first; earlier ones first among equals."""
    return sorted(qualities, key=lambda q: q.before.delta_e - q.after.delta_e)[:most]


def spread_frames(qualities: Sequence[FrameQuality], most: int = SPREAD) -> list[FrameQuality]:
    """Return degraded frames at even ranks of what they gained, from the best to the worst: nobody chose them."""
    ranked = sorted(
        (q for q in qualities if q.kind is FrameKind.DEGRADED), key=lambda q: q.after.delta_e - q.before.delta_e
    )
    places = np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def write_gallery(outcomes: Sequence[Outcome], records: Mapping[str, PhotoRecord], folder: Path) -> Gallery:
    """Write the sheet and its description into a folder, through temporary files.

    Parameters
    ----------
    outcomes
        What to show, in order; at least one.
    records
        The manifest's records by the prepared file's name, for credit.
    folder
        Made where it is missing.

    Raises
    ------
    ConfigError
        If the folder cannot be written.
    """
    row = _PICTURE_PX + _CAPTION_PX
    width = _MARGIN_PX * 2 + len(_COLUMNS) * _PICTURE_PX + (len(_COLUMNS) - 1) * _GAP_PX
    sheet = Image.new("RGB", (width, _MARGIN_PX + len(outcomes) * row), _PAPER)
    entries = []
    for number, outcome in enumerate(outcomes):
        record = records[outcome.quality.photo]
        entry = _entry(outcome, f"{record.author}, {record.licence}, {record.source}", _MARGIN_PX + number * row)
        frame = outcome.measured.frame
        _draw(sheet, entry, (frame.degraded, outcome.enhanced, frame.clean))
        entries.append(entry)
    gallery = Gallery(entries=tuple(entries))
    drawn = io.BytesIO()
    sheet.save(drawn, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    write_bytes(folder / SHEET_NAME, drawn.getvalue())
    write_text(folder / RESULT_NAME, gallery.model_dump_json(indent=1) + "\n")
    return gallery


def read_gallery(path: Path) -> tuple[Gallery, Image.Image]:
    """Read a gallery's description and the sheet beside it.

    Parameters
    ----------
    path
        What `write_gallery` called `RESULT_NAME`, or the folder that holds it.

    Raises
    ------
    ConfigError
        If one of the two is missing, too large, or not what it should be.
    """
    path = path / RESULT_NAME if path.is_dir() else path
    try:
        sheet_path = path.with_name(SHEET_NAME)
        if max(path.stat().st_size, sheet_path.stat().st_size) > _MOST_BYTES:
            raise ConfigError(f"{path} or its sheet is larger than {_MOST_BYTES >> 20} MiB; no gallery is.")
        gallery = check_json(Gallery, path.read_bytes(), f"{path}: not what `bench quality --gallery` writes")
        with Image.open(sheet_path, formats=["JPEG"]) as image:
            _check_places(gallery, image.size, path)
            return gallery, image.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path}: the gallery cannot be read: {error}") from error


def _check_places(gallery: Gallery, size: tuple[int, int], path: Path) -> None:
    side = gallery.picture_px
    for number, entry in enumerate(gallery.entries):
        if max(entry.left) + side > size[0] or entry.top + side > size[1]:
            raise ConfigError(f"{path}: entry {number} lies outside the sheet of {size[0]}×{size[1]} px.")


def _entry(outcome: Outcome, credit: str, top: int) -> GalleryEntry:
    quality = outcome.quality
    first, second, third = (_MARGIN_PX + column * (_PICTURE_PX + _GAP_PX) for column in range(len(_COLUMNS)))
    return GalleryEntry(
        kind=quality.kind,
        photo=quality.photo,
        repeat=quality.repeat,
        true_plan=describe(quality.true_plan),
        carried_out=describe(quality.plan),
        delta_e_before=quality.before.delta_e,
        delta_e_after=quality.after.delta_e,
        credit=credit,
        left=(first, second, third),
        top=top,
    )


def _draw(sheet: Image.Image, entry: GalleryEntry, pictures: Sequence[ByteImage]) -> None:
    draw = ImageDraw.Draw(sheet)
    # Pillow's own font lacks most letters of names: Saukonpää, Φίλιππος.
    letters = Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    small, large = (ImageFont.truetype(letters, px) for px in (13, 16))
    labels = (
        f"before, color error {entry.delta_e_before:.1f}",
        f"after, color error {entry.delta_e_after:.1f}",
        f"clean ({entry.kind} frame)",
    )
    under = entry.top + _PICTURE_PX + 5
    for left, picture, label in zip(entry.left, pictures, labels, strict=True):
        image = Image.fromarray(np.ascontiguousarray(picture))
        sheet.paste(image.resize((_PICTURE_PX, _PICTURE_PX), Image.Resampling.LANCZOS), (left, entry.top))
        draw.text((left, under), label, font=small, fill=_FAINT)
    room = sheet.width - 2 * _MARGIN_PX
    draw.text((entry.left[0], under + 21), _fitted(f"needed: {entry.true_plan}", large, room), font=large, fill=_INK)
    draw.text((entry.left[0], under + 44), _fitted(f"done: {entry.carried_out}", large, room), font=large, fill=_INK)
    draw.text((entry.left[0], under + 69), _fitted(entry.credit, small, room), font=small, fill=_FAINT)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    while len(text) > 1 and font.getlength(text) > room:
        text = text[:-2] + "…"
    return text
