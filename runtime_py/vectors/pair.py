"""Vectors of the whole pair: photos in, what a bundle makes of them out."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import BundleSource, Pipeline, pipeline_of
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.photo.color import handling_of
from pocketcrafter.runtime.photo.load import load
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.vectors.recording import Case, Recording


def record_pair(recording: Recording, bundle: Bundle, photos: Sequence[Path], threads: int, progress: Progress) -> None:
    """Add each photo's pixels, its critique in numbers and words, and its enhanced pixels.

    Parameters
    ----------
    recording
        Receives the cases.
    bundle
        The pair that is run.
    photos
        Files of sRGB and 8 bits.
    threads
        Threads to compute with, ≥ 1.
    progress
        Called with photos done and photos in all.

    Raises
    ------
    PhotoError
        If a photo cannot be read.
    ConfigError
        If a photo is not of sRGB and 8 bits, which is what apps hand over; or a bundle has an artist or a critic alone.
    BackendError
        If a network fails.
    """
    pipeline = pipeline_of(BundleSource(bundle, None, threads), threads)
    name, told = ("latent_pair", _answered) if isinstance(pipeline, LatentPipeline) else ("pair", _told)
    cases = []
    for n, path in enumerate(photos):
        photo = load(path)
        if photo.pixels.itemsize != 1 or (photo.icc is not None and handling_of(photo.icc) != "srgb"):
            raise ConfigError(f"{path}: vectors are of sRGB photos with 8 bits a channel; leave this one out.")
        # At twice its strength an edit may be more than colors carry, and is made in tiles.
        strength = 1.0 + n % 2 if isinstance(pipeline, LatentPipeline) else 1.0
        enhanced = pipeline.enhance(photo, strength)
        pixels = {"pixels": recording.tensor(photo.pixels), "enhanced": recording.tensor(enhanced.photo.pixels)}
        framing = _framing(pipeline, photo) if bundle.has(Pocket.COMPOSITION) else None
        about = {"photo": path.name, "strength": strength, "notes": enhanced.notes, "framing": framing}
        cases.append({**about, **pixels, **told(recording, pipeline, photo)})
        progress(n + 1, len(photos))
    recording.add(name, cases)


def _told(recording: Recording, pipeline: Pipeline, photo: Photo) -> Case:
    del recording
    told = pipeline.prose(photo, Mode.FULL)
    return {
        "score": told.critique.score,
        "plan": told.critique.plan.model_dump(mode="json"),
        "ids": told.written.ids,
        "text": told.written.prose.text,
        "lines": told.critique.lines(),
    }


def _framing(pipeline: Pipeline, photo: Photo) -> Case | None:
    """Return how a photo is levelled and cropped; `None` where it is too small to tell."""
    # At no strength nothing else is done.
    composed = pipeline.enhance(photo, 0.0, geometry=True, crop=True).composed
    if composed is None:
        return None
    return {
        "turn_degrees": composed.turn_degrees,
        "box": composed.box and composed.box.model_dump(),
        "reasons": [reason.words for reason in composed.reasons],
    }


def _answered(recording: Recording, pipeline: Pipeline, photo: Photo) -> Case:
    latent = cast("LatentPipeline", pipeline)
    critique, answer = latent.critique(photo), latent.answer(photo)
    return {
        "ids": critique.ids,
        "text": critique.text,
        "ended": critique.ended,
        "hidden": recording.tensor(answer.hidden),
    }
