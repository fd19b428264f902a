"""Vectors of what happens to pixels: views and crops, render, tone grid, developing, tiles."""

import io
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box
from pocketcrafter.runtime.grid import IDENTITY, blended, slice_exact
from pocketcrafter.runtime.photo.color import to_eight_bits
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.pocket import GRID
from pocketcrafter.runtime.render import channel_curves, channel_gains, render
from pocketcrafter.runtime.tiles import feather, map_tiles, tile_starts
from pocketcrafter.runtime.vectors.recording import Recording
from pocketcrafter.runtime.views import crop_origins, global_view, native_crops

PLANS: Final = (
    EditPlan(),
    EditPlan(exposure_ev=1.3, temperature_mired=-40, tint_mired=12, contrast=0.3, saturation=0.25),
    EditPlan(exposure_ev=-2.2, temperature_mired=90, highlights=-0.8, shadows=0.7, saturation=-1.0),
    EditPlan(dehaze=1.0, contrast=-0.6, highlights=1.0, shadows=-1.0, tint_mired=-100),
    EditPlan(exposure_ev=4.0, temperature_mired=-200, contrast=1.0, saturation=1.0, dehaze=0.4),
)
_VIEWED: Final = ((5, 3), (301, 223))
"""Heights and widths: smaller than a crop, and no multiple of the view's sides."""
_SIDES: Final = ((1, 1), (127, 128), (129, 640), (512, 512), (3024, 4032), (6001, 17))
_TILE: Final = 16
_OVERLAP: Final = 4

Pixels = npt.NDArray[np.uint8]


def picture(height: int, width: int, seed: int) -> Pixels:
    """Return a picture with smooth ramps, noise, and both ends of the range: uint8, ``(height, width, 3)``.

    Parameters
    ----------
    height, width
        Size in pixels.
    seed
        What it is drawn from.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    ramps = np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) * 7 % 256], axis=-1)
    noisy = ramps + rng.integers(-12, 13, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def tilted(photo: Path, degrees: float) -> Pixels:
    """Return the largest part of a level photo that a clockwise turn levels again: uint8, ``(height, width, 3)``.

    Parameters
    ----------
    photo
        A file.
    degrees
        The turn that levels it, under 15 in size.
    """
    with Image.open(photo) as image:
        level = np.asarray(image.convert("RGB"))
    return cut(level, inscribed_box(level.shape[1], level.shape[0], degrees), -degrees)


def steep_grid(seed: int) -> FloatArray:
    """Return a bilateral grid that differs from cell to cell: float32, of shape `GRID`."""
    noise = np.random.default_rng(seed).uniform(-0.2, 0.2, GRID)
    return (IDENTITY + noise).astype(np.float32)


def record_pictures(recording: Recording) -> None:
    """Add the cases of every function of pixels."""
    tensor = recording.tensor
    viewed = [picture(height, width, height) for height, width in _VIEWED]
    recording.add("global_view", [{"pixels": tensor(p), "view": tensor(global_view(p))} for p in viewed])
    recording.add("native_crops", [{"pixels": tensor(p), "crops": tensor(native_crops(p))} for p in viewed])
    recording.add("crop_origins", [{"height": h, "width": w, "origins": crop_origins(h, w)} for h, w in _SIDES])

    held = picture(5, 8, 4)
    recording.add(
        "upright",
        [{"pixels": tensor(held), "orientation": o, "upright": tensor(_turned(held, o))} for o in range(1, 9)],
    )
    recording.add("exif", [{"jpeg": tensor(_camera_jpeg(order)), "orientation": 6} for order in ("<", ">")])
    small = picture(24, 36, 2)
    encoded = small.astype(np.float32) / np.float32(255)
    levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    recording.add(
        "render",
        [
            {
                "plan": plan.model_dump(mode="json"),
                "encoded": tensor(encoded),
                "gains": tensor(channel_gains(plan)),
                "curves": tensor(channel_curves(plan, levels)),
                "rendered": tensor(render(plan, encoded)),
            }
            for plan in PLANS
        ],
    )
    grid = steep_grid(3)
    sliced = [
        {
            "grid": tensor(grid),
            "strength": strength,
            "blended": tensor(blended(grid, strength)),
            "rgb": tensor(encoded),
            "sliced": tensor(slice_exact(blended(grid, strength), encoded)),
        }
        for strength in (1.0, 0.5)
    ]
    recording.add("slice", sliced)
    developed = [(PLANS[1], None), (PLANS[2], None), (PLANS[1], grid), (PLANS[3], grid)]
    recording.add(
        "develop",
        [
            {
                "pixels": tensor(small),
                "plan": plan.model_dump(mode="json"),
                "grid": None if tone is None else tensor(tone),
                "developed": tensor(develop(small, plan, tone)),
            }
            for plan, tone in developed
        ],
    )
    recording.add(
        "tile_starts",
        [{"length": n, "tile": 512, "overlap": 32, "starts": tile_starts(n)} for n in (1, 512, 513, 992, 993, 4032)],
    )
    recording.add(
        "feather",
        [
            {"index": i, "count": 3, "tile": _TILE, "overlap": _OVERLAP, "weights": tensor(feather(i, 3, _TILE, 4))}
            for i in range(3)
        ],
    )
    recording.add("deep", [_deep(recording, grid)])
    recording.add("map_tiles", [_tiled(recording, picture(h, w, w)) for h, w in ((37, 45), (16, 16), (1, 3), (5, 40))])


def _deep(recording: Recording, grid: FloatArray) -> dict[str, object]:
    """Return a picture of 16 bits, and what every function of pixels makes of it."""
    noise = np.random.default_rng(6).integers(-128, 129, (37, 45, 3))
    pixels: npt.NDArray[np.uint16] = np.clip(picture(37, 45, 6).astype(np.int32) * 257 + noise, 0, 65535).astype(
        np.uint16
    )
    box = inscribed_box(45, 37, -4.5)
    cuts = [(degrees, cut(pixels, box, degrees)) for degrees in (0.0, -4.5)]
    return {
        "pixels": recording.tensor(pixels),
        "view": recording.tensor(global_view(pixels)),
        "crops": recording.tensor(native_crops(pixels)),
        "plan": PLANS[1].model_dump(mode="json"),
        "grid": recording.tensor(grid),
        "rendered": recording.tensor(develop(pixels, PLANS[1], None)),
        "developed": recording.tensor(develop(pixels, PLANS[1], grid)),
        "eight": recording.tensor(to_eight_bits(pixels)),
        "tiled": recording.tensor(map_tiles(pixels, _shade, tile=_TILE, overlap=_OVERLAP)),
        "cuts": [
            {"box": box.model_dump(), "degrees": degrees, "cut": recording.tensor(made)} for degrees, made in cuts
        ],
    }


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture upright as Pillow does."""
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def _camera_jpeg(order: str) -> Pixels:
    """Return the bytes of a JPEG as a camera writes it: turned, with a place, a maker's note and a thumbnail."""
    exif = Image.Exif()
    exif.endian = order
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "PocketCrafter", 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bytes(range(100))
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48, 12, 30)}
    )
    file = io.BytesIO()
    Image.fromarray(picture(40, 30, 5)).save(file, "jpeg", quality=90, exif=exif)
    return np.frombuffer(file.getvalue(), np.uint8)


def _shade(tile: FloatArray) -> FloatArray:
    """Darken a tile towards its lower right: the value at (y, x) by ``1 − (y + x)/64``."""
    y, x = np.mgrid[0:_TILE, 0:_TILE]
    shaded: FloatArray = tile * (1 - (y + x) / 64).astype(np.float32)
    return shaded


def _tiled(recording: Recording, pixels: Pixels) -> dict[str, object]:
    """Return a case whose network is `_shade`."""
    out = map_tiles(pixels, _shade, tile=_TILE, overlap=_OVERLAP)
    return {
        "pixels": recording.tensor(pixels),
        "tile": _TILE,
        "overlap": _OVERLAP,
        "tiled": recording.tensor(out),
    }
