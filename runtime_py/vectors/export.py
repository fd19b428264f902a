"""Writes all vectors into a folder; the same runtime, bundle and photos give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import writing
from pocketcrafter.runtime.pipeline import tokenizer_of
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.vectors.answers import record_answers
from pocketcrafter.runtime.vectors.judging import record_judging
from pocketcrafter.runtime.vectors.latent import record_latent
from pocketcrafter.runtime.vectors.latent_pictures import record_latent_pictures
from pocketcrafter.runtime.vectors.manifests import record_manifests
from pocketcrafter.runtime.vectors.pair import record_pair
from pocketcrafter.runtime.vectors.pictures import record_pictures
from pocketcrafter.runtime.vectors.plans import record_plans
from pocketcrafter.runtime.vectors.recording import Recording
from pocketcrafter.runtime.vectors.words import record_words, synthetic_vocabulary


def export_vectors(
    out: Path, bundle: Path | None, photos: Sequence[Path], threads: int, progress: Progress
) -> dict[str, int]:
    """Write the vectors.

    Parameters
    ----------
    out
        Folder of the files; made where it is not there.
    bundle
        A bundle whose pair takes the photos; of a pocket bundle the vocabulary is used too, a made-up one otherwise.
    photos
        Photos for the pair.
    threads
        Threads to compute with, ≥ 1.
    progress
        Called with photos done and photos in all.

    Returns
    -------
    dict
        How many cases there are of each function.

    Raises
    ------
    ConfigError
        If photos are given without a bundle, one is not of sRGB and 8 bits, or the package `tokenizers` is missing.
    BundleError
        If the bundle is damaged.
    StorageError
        If a file cannot be written.
    """
    if photos and bundle is None:
        raise ConfigError("Photos are for a bundle's pair: give --bundle too, or leave the photos out.")
    opened = None if bundle is None else Bundle.open(bundle)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    recording = Recording()
    record_plans(recording)
    record_pictures(recording)
    record_judging(recording)
    record_manifests(recording)
    record_latent(recording)
    record_latent_pictures(recording)
    record_answers(recording, out)
    vocabulary = None if opened is None else tokenizer_of(opened)
    record_words(recording, out, synthetic_vocabulary() if vocabulary is None else vocabulary.read_bytes())
    if opened is not None and photos:
        record_pair(recording, opened, photos, threads, progress)
    recording.write(out)
    return recording.counts
