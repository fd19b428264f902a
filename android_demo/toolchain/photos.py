"""Photos of every aspect and orientation, made from a few: what cameras write when they are held otherwise."""

from pathlib import Path
from typing import Final

from PIL import ExifTags, Image

_SHAPES: Final = ((1.0, 1.0), (1.0, 0.3), (0.3, 1.0), (0.77, 0.77), (1.0, 0.06), (0.51, 0.93))
"""Shares of width and height that are cut out of the middle."""
_COUNT: Final = 12


def varied(photos: Path, out: Path) -> Path:
    """Write twelve photos into a folder, each cut and turned otherwise, with the orientation in its EXIF block.

    Parameters
    ----------
    photos
        A folder of JPEG files.
    out
        Receives ``<name>-<n>.jpg``.

    Returns
    -------
    Path
        ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    files = sorted(photos.glob("*.jpg"))
    for n in range(_COUNT):
        file = files[n % len(files)]
        across, down = _SHAPES[n * 5 // 6 % len(_SHAPES)]
        with Image.open(file) as photo:
            width, height = photo.size
            box = (
                int(width * (1 - across) / 2),
                int(height * (1 - down) / 2),
                int(width * (1 + across) / 2),
                int(height * (1 + down) / 2),
            )
            cut = photo.convert("RGB").crop(box)
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = n % 8 + 1
            cut.save(out / f"{file.stem}-{n + 1}.jpg", quality=93, exif=exif)
    return out
