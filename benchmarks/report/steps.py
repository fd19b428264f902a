"""What a latent pair's artist makes of a photo step by step, and what its critic says, for the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketcrafter.benchmarks.report.photos import MOST_PHOTOS, PhotoPair, photo_pair, small_picture
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.families import PairSource
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.latent.settings import ArtistSettings, Latent
from pocketcrafter.runtime.photo import decode


@dataclass
class _Watched:
    """A network whose inputs are kept."""

    session: Session
    inputs: list[Mapping[str, FloatArray]] = field(default_factory=list)

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `pocketcrafter.runtime.backends.base.Session`."""
        self.inputs.append(inputs)
        return self.session.run(inputs)


@dataclass
class WatchedSource:
    """A bundle's networks, of which those that denoise and decode keep what they were given."""

    source: PairSource
    watched: dict[str, _Watched] = field(default_factory=dict)

    @property
    def bundle(self) -> Bundle:
        """See `pocketcrafter.runtime.families.PairSource`."""
        return self.source.bundle

    def has(self, component: str) -> bool:
        """See `pocketcrafter.runtime.families.PairSource`."""
        return self.source.has(component)

    def session(self, component: str, function: str | None = None) -> Session:
        """See `pocketcrafter.runtime.families.PairSource`."""
        opened = self.source.session(component, function)
        if component not in {Latent.DENOISE, Latent.DECODE}:
            return opened
        return self.watched.setdefault(component, _Watched(opened))

    def pictures(self, settings: ArtistSettings) -> list[FloatArray]:
        """Return what the latents of the last edit show before each step but the first, and in the end.

        sRGB in [0, 1], ``(side, side, 3)``; what was watched is forgotten.
        """
        denoise, decoded = (self.watched[name] for name in (Latent.DENOISE, Latent.DECODE))
        latents = [
            given["latents"] / np.float32(step.scale) / np.float32(settings.latents.scale)
            + np.float32(settings.latents.shift)
            # The whole photo comes first; behind it, tiles of the photo's own pixels may have been edited.
            for given, step in zip(denoise.inputs[: len(settings.steps)], settings.steps, strict=True)
        ]
        # The noise that the first step begins with shows nothing.
        shown = [*latents[1:], decoded.inputs[0]["latents"]]
        made = [decoded.session.run({"latents": one})["image"][0].transpose(1, 2, 0) / 2 + 0.5 for one in shown]
        denoise.inputs.clear()
        decoded.inputs.clear()
        return [np.clip(one, 0, 1) for one in made]


def stepped_pairs(
    source: PairSource, threads: int, photos: Sequence[Path], progress: Callable[[str, int, int], None]
) -> list[PhotoPair]:
    """Enhance and critique photos with a latent pair, as :func:`~pocketcrafter.benchmarks.report.photos.photo_pairs`.

    Parameters
    ----------
    source, threads
        The bundle's networks, and threads for what is between them.
    photos, progress
        As there.

    Raises
    ------
    PhotoError
        If a file is not a photo.
    ConfigError
        If there is no artist, or no package to read the critic's words with.
    BackendError
        If a network fails.
    """
    watched = WatchedSource(source)
    pipeline = LatentPipeline(watched, threads)
    chosen, pairs = photos[:MOST_PHOTOS], []
    for number, path in enumerate(chosen):
        progress(path.name, number, len(chosen))
        photo = decode(path)
        enhanced = pipeline.enhance(photo)
        settings = pipeline.artist.settings
        strip = [small_picture(np.rint(one * 255).astype(np.uint8)) for one in watched.pictures(settings)]
        said = pipeline.critique(photo).lines() if source.has(Latent.VISION) else []
        pairs.append(photo_pair(path.name, photo, enhanced, steps=tuple(strip), said=tuple(said)))
    progress("photos", len(chosen), len(chosen))
    return pairs
