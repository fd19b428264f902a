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
        enhanced = pipeline.enhance(photo)
        pixels = {"pixels": recording.tensor(photo.pixels), "enhanced": recording.tensor(enhanced.photo.pixels)}
        cases.append({"photo": path.name, **pixels, "notes": enhanced.notes, **told(recording, pipeline, photo)})
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
