"""Degraded frames of prepared photos as files: photos that need something, for a teacher to be asked about."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.realism import load_realism
from pocketcrafter.export.data.sampling import draw_frame
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.runtime.files import write_bytes


def write_degraded(
    photos: Sequence[Path],
    data: Path,
    out: Path,
    *,
    per_photo: int,
    side_px: int,
    seed: int,
    on_frame: Callable[[int], object] = lambda _: None,
) -> list[Path]:
    """Write frames with the faults that the default pair is trained on, and return their paths.

    A frame depends on the seed, its photo's name and its number alone; one that is there already is kept, so that an
    interrupted run goes on where it stopped.

    Parameters
    ----------
    photos
        sRGB photos of at least ``side_px`` on both sides.
    data
        The folder that `data prepare` made: noise profiles, lenses and presets lie there.
    out
        Gets ``NAME-NUMBER.png``, sRGB of 8 bits; it is made where it is missing.
    per_photo
        Frames of each photo.
    side_px
        Side of the square frames.
    seed
        What places and faults are drawn from.
    on_frame
        Called with 1 for each frame.

    Raises
    ------
    ConfigError
        If noise profiles, lenses or presets are missing or damaged.
    StorageError
        If a frame cannot be written.
    """
    noise, realism = load_noise_models(data / NOISE_FILE), load_realism(data)
    written = []
    for path in photos:
        names = [out / f"{path.stem}-{number}.png" for number in range(per_photo)]
        written += names
        missing = [number for number, name in enumerate(names) if not name.exists()]
        on_frame(per_photo - len(missing))
        if not missing:
            continue
        photo = read_pixels(path)
        for number in missing:
            rng = np.random.default_rng([seed, number, *path.stem.encode()])
            frame = draw_frame(photo, side_px, rng, noise, realism=realism)
            encoded = BytesIO()
            Image.fromarray(frame.degraded).save(encoded, "PNG")
            write_bytes(names[number], encoded.getvalue())
            on_frame(1)
    return written
