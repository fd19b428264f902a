"""A photo of any size with a real photo's detail at native resolution, made from what a bundle carries."""

from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.photo import Photo, encode
from pocketcrafter.runtime.pocket import Pocket

_TILE: Final = "tile"


def write_scene(bundle: Bundle, megapixels: float, path: Path) -> Path:
    """Write a 4:3 JPEG of the restoration golden's tile, mirrored over the whole picture.

    Parameters
    ----------
    bundle
        Must have a `restore` component.
    megapixels
        Millions of pixels; 12 is 4000×3000.
    path
        Destination, `.jpg`.

    Raises
    ------
    BundleError
        If the bundle has no `restore`, or its golden is damaged.
    """
    entry = bundle.manifest.entry(Pocket.RESTORE)
    tile = read_tensors(bundle.file(entry.goldens[0].inputs), entry.spec.inputs)[_TILE][0]
    picture = np.rint(tile.transpose(1, 2, 0) * 255).astype(np.uint8)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    below, right = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    mirrored = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="symmetric")[:height, :width]
    encode(Photo(np.ascontiguousarray(mirrored)), path)
    return path
