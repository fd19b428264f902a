"""Folds of photos for cross-fitting: what is trained without a fold judges it as it judges a user's photos."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.errors import ConfigError

FOLDS: Final = 5


def folds_of(sources: Sequence[str], photographers: Sequence[str]) -> npt.NDArray[np.int64]:
    """Assign photos to `FOLDS` folds of about equal size, all photos of one source to the same fold.

    A source that is larger than a fold is divided among folds, all photos of one photographer in the same fold.

    Parameters
    ----------
    sources, photographers
        Of each photo.

    Raises
    ------
    ConfigError
        If all photos are of one fold: none is left to train on.
    """
    whole = {name for name in sources if sources.count(name) <= -(-len(sources) // FOLDS)}
    kept = [(s, "" if s in whole else p) for s, p in zip(sources, photographers, strict=True)]
    names, owner, counts = np.unique(np.array(kept).reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
    fold_of = np.zeros(len(names), dtype=np.int64)
    sizes = np.zeros(FOLDS, dtype=np.int64)
    for name in np.argsort(-counts, kind="stable"):
        fold_of[name] = sizes.argmin()
        sizes[fold_of[name]] += counts[name]
    if (fold_of[owner] == fold_of[owner][0]).all():
        raise ConfigError(
            "All training photos are of one photographer, so that no critic can be trained without them; prepare "
            "photos of others too with `pocketcrafter data prepare`."
        )
    return fold_of[owner]
