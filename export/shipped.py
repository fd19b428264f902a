"""Files that the build side reads beside its code: the default pair's trained weights and the calibration photos.

A checkout has them. The wheel of `pocketcrafter` has not, as running a bundle takes neither: they are a distribution of
their own, ``pocketcrafter-weights`` (``weights/pyproject.toml``), which installs them into the same folders.
"""

from pathlib import Path
from typing import Final

_EXPORT: Final = Path(__file__).parent
WEIGHTS: Final = _EXPORT / "weights"
"""Trained weights, their model cards, the decoder's vocabulary and the critic's gate."""
SHIPPED_PAIRS: Final = ("latent-studio",)
"""Folders of latent pairs among the weights, which `build` knows by name."""
CALIBRATION_PHOTOS: Final = _EXPORT / "calibration" / "photos"
"""Ten CC0 photos of the training set, reduced; see the attribution beside them."""

DEFAULT_RECIPE: Final = _EXPORT / "recipes" / "default.yaml"
"""The recipe of the default pair; other shipped ones lie beside it."""


def not_installed(path: Path) -> str | None:
    """Return how to get a shipped file whose folder this installation lacks; `None` for any other file."""
    folder = next((folder for folder in (WEIGHTS, CALIBRATION_PHOTOS) if path.is_relative_to(folder)), None)
    if folder is None or any(folder.glob("*.*")):
        return None
    return (
        "The trained weights and calibration photos are not installed: pip install pocketcrafter-weights "
        "(`make wheels` builds it from a checkout)"
    )
