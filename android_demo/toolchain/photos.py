"""Photos of every aspect and orientation, made from a few: what cameras write when they are held otherwise."""

from pathlib import Path
from typing import Final

from PIL import ExifTags, Image

from pocketcrafter.runtime.vectors.pictures import tilted

_SHAPES: Final = ((1.0, 1.0), (1.0, 0.3), (0.3, 1.0), (0.77, 0.77), (1.0, 0.06), (0.51, 0.93))
"""Shares of width and height that are cut out of the middle."""
_COUNT: Final = 12
_SMALL: Final = ((64, 64), (100, 76), (40, 150))
"""Widths and heights of photos that a tiny artist sees as they are, or edits in a few tiles."""
_LEVEL: Final = Path(__file__).parents[2] / "tests/photos/bridge_dim_and_cool.jpg"
"""A photo of whose tilt the default pair is sure."""
_TILT_DEGREES: Final = -6.0


def varied(photos: Path, out: Path) -> Path:
    """Write twelve photos into a folder, each cut and turned otherwise, with the orientation in its EXIF block.

    Three small ones and one whose horizon is tilted are written beside them, as PNG.

    Parameters
    ----------
    photos
        A folder of JPEG files.
    out
        Receives ``<name>-<n>.jpg``, ``small-<n>.png`` and ``tilted.png``.

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
    for n, size in enumerate(_SMALL):
        with Image.open(files[n % len(files)]) as photo:
            photo.convert("RGB").resize(size).save(out / f"small-{n + 1}.png")
    Image.fromarray(tilted(_LEVEL, _TILT_DEGREES)).save(out / "tilted.png")
    return out
