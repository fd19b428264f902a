"""Writes all vectors into a folder; the same runtime, bundle and photos give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import writing
from pocketcrafter.runtime.pipeline import tokenizer_of
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.vectors.answers import record_answers
from pocketcrafter.runtime.vectors.framing import record_framing
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
    out: Path, bundles: Sequence[Path], photos: Sequence[Path], threads: int, progress: Progress
) -> dict[str, int]:
    """Write the vectors.

    Parameters
    ----------
    out
        Folder of the files; made where it is not there.
    bundles
        Their pairs take the photos, at most one of each family; of a pocket bundle the vocabulary is used too, a
        made-up one otherwise.
    photos
        Photos for the pairs.
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
        If photos are given without a bundle, one is not of sRGB and 8 bits, two bundles are of one family, or the
        package `tokenizers` is missing.
    BundleError
        If the bundle is damaged.
    StorageError
        If a file cannot be written.
    """
    if photos and not bundles:
        raise ConfigError("Photos are for a bundle's pair: give --bundle too, or leave the photos out.")
    opened = [Bundle.open(bundle) for bundle in bundles]
    if len({bundle.manifest.family for bundle in opened}) < len(opened):
        raise ConfigError("Two bundles are of one family: give one of each.")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    recording = Recording()
    record_plans(recording)
    record_pictures(recording)
    record_judging(recording)
    record_framing(recording)
    record_manifests(recording)
    record_latent(recording)
    record_latent_pictures(recording)
    record_answers(recording, out)
    vocabulary = next((path for bundle in opened if (path := tokenizer_of(bundle)) is not None), None)
    record_words(recording, out, synthetic_vocabulary() if vocabulary is None else vocabulary.read_bytes())
    for bundle in opened if photos else ():
        record_pair(recording, bundle, photos, threads, progress)
    recording.write(out)
    return recording.counts
