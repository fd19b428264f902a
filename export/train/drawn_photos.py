"""Photos in memory and what frames of them are degraded by, for trainings that draw their frames at every step."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.realism import load_realism
from pocketcrafter.export.data.sources import NOISE_FILE


class DrawnPhotos:
    """Photos, noise of cameras, lenses and white balances.

    Parameters
    ----------
    photos
        sRGB photos.
    data
        The folder that `data prepare` made: noise profiles, lenses and presets lie there.
    read
        Reads a photo as it is kept in memory.

    Raises
    ------
    ConfigError
        If one of those files is missing or damaged.
    """

    def __init__(self, photos: Sequence[Path], data: Path, read: Callable[[Path], ByteImage] = read_pixels) -> None:
        self.noise = load_noise_models(data / NOISE_FILE)
        self.realism = load_realism(data)
        self.photos = [read(path) for path in photos]
