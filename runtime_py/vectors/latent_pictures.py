"""Vectors of the latent family's pictures: a photo as its networks see it, and an edit carried to the photo's size."""

from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.latent.artist import Change
from pocketcrafter.runtime.latent.native import carry
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture, native_picture, resized
from pocketcrafter.runtime.latent.settings import PictureSettings, Resampling
from pocketcrafter.runtime.latent.transfer import fit_transfer
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.vectors.pictures import picture
from pocketcrafter.runtime.vectors.recording import Recording

_PHOTOS: Final = ((37, 61), (90, 23), (24, 24), (2, 150))
_MEAN: Final = (0.5, 0.4, 0.3)
_DEVIATION: Final = (0.25, 0.5, 0.3)
_CARRIED: Final = ((24, 24, 1.0), (24, 24, 0.5), (40, 61, 1.0), (40, 61, 0.4), (40, 61, 0.0))
"""Heights, widths and strengths."""


def record_latent_pictures(recording: Recording) -> None:
    """Add the cases of every function of pixels of the latent family.

    Parameters
    ----------
    recording
        Receives the cases.
    """
    tensor = recording.tensor
    photos = [Photo(picture(height, width, height + width)) for height, width in _PHOTOS]
    seen = [
        PictureSettings(longest_edge=edge, side=24, resampling=filter_, mean=_MEAN, deviation=_DEVIATION)
        for filter_ in Resampling
        for edge in (None, 41)
    ]
    recording.add(
        "critics_picture",
        [
            {
                "pixels": tensor(photo.pixels),
                "settings": settings.model_dump(mode="json"),
                "picture": tensor(critics_picture(photo, settings)),
            }
            for photo in photos
            for settings in seen
        ],
    )
    recording.add(
        "artists_picture",
        [
            {"pixels": tensor(photo.pixels), "side": side, "picture": tensor(artists_picture(photo, side))}
            for photo in photos
            for side in (16, 24, 48)
        ],
    )
    recording.add(
        "native_picture",
        [
            {"pixels": tensor(p.pixels), "side": 32, "factor": 8, "picture": tensor(native_picture(p, 32, 8))}
            for p in photos
        ],
    )
    recording.add("resized", [_resized(recording, *sides) for sides in ((16, 16, 40, 9), (40, 31, 12, 12))])
    recording.add("carry", [_carried(recording, *case) for case in _CARRIED])
    recording.add("fidelity", _compared(recording))
    recording.add("fit_transfer", [_fitted(recording, *sides) for sides in ((48, 48), (514, 32))])


def _carried(recording: Recording, height: int, width: int, strength: float) -> dict[str, Any]:
    """Return a case whose edit is a curve and a shift of color; of 24 pixels a side it is carried pixel by pixel."""
    photo = Photo(picture(height, width, 12))
    before = artists_picture(photo, 24)
    change = Change(before, before ** np.float32(0.8) * np.array([1.0, 0.9, 0.8], np.float32))
    carried = carry(photo, change, strength, 1)
    return {
        "pixels": recording.tensor(photo.pixels),
        "before": recording.tensor(change.before),
        "after": recording.tensor(change.after),
        "strength": strength,
        "carried": recording.tensor(carried.pixels),
        "error_db": None if carried.error_db == float("inf") else carried.error_db,
        "notes": carried.notes,
    }


def _compared(recording: Recording) -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    reference = rng.normal(0, 2, 40).astype(np.float32)
    noisy, zero = reference + rng.normal(0, 0.1, 40).astype(np.float32), np.zeros(40, np.float32)
    pairs = ((reference, reference), (reference, noisy), (reference, zero), (reference, -reference), (zero, zero))
    mended = reference + rng.normal(0, 0.3, 40).astype(np.float32)
    return [
        {
            "reference": recording.tensor(expected),
            "actual": recording.tensor(actual),
            "mended": None if before is None else recording.tensor(before),
            "fidelity": Fidelity.between("out", expected, actual, mended=before).model_dump(mode="json"),
        }
        for expected, actual, before in (*((*pair, None) for pair in pairs), (reference, noisy, mended))
    ]


def _resized(recording: Recording, height: int, width: int, new_height: int, new_width: int) -> dict[str, Any]:
    values = np.random.default_rng(height).normal(0, 0.3, (height, width, 3)).astype(np.float32)
    made = resized(values, new_height, new_width)
    return {"picture": recording.tensor(values), "resized": recording.tensor(made)}


def _fitted(recording: Recording, height: int, width: int) -> dict[str, Any]:
    """Return a case whose edit is a curve of tone and darkens to the left: no grid holds it whole."""
    before = picture(height, width, 9).astype(np.float32) / np.float32(255)
    darker = np.linspace(0.6, 1.0, width, dtype=np.float32)[None, :, None]
    after = (before ** np.float32(0.8) * darker).astype(np.float32)
    fitted = fit_transfer(before, after)
    tensors = {"before": before, "after": after, "grid": fitted.grid}
    return {**{name: recording.tensor(values) for name, values in tensors.items()}, "error_db": fitted.error_db}
