"""Photos inside the report: before and after, and the worst frames of a quality measurement.

Of a latent pair: its artist's work step by step, and what its critic says.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pocketcrafter.benchmarks.quality.gallery import Gallery, GalleryEntry
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.families import PairSource, Pipeline
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.latent.settings import ArtistSettings, Latent
from pocketcrafter.runtime.photo import Photo, decode
from pocketcrafter.runtime.photo.color import handling_of, pixels_to_srgb, to_eight_bits
from pocketcrafter.runtime.pipeline import Enhanced

MOST_PHOTOS: Final = 12
"""Photos in one report; more would make it too large to send."""

_LONG_SIDE_PX: Final = 900
_STEP_PX: Final = 240
_JPEG_QUALITY: Final = 80

_CROP_JPEG_QUALITY: Final = 82


@dataclass(frozen=True)
class PhotoPair:
    """One photo.

    Attributes
    ----------
    name, words
        Its file's name, and what was done in words.
    before, after, width, height
        Both pictures as ``data:`` addresses, and their one size in pixels.
    steps
        Pictures of an artist's steps, likewise; none where there are no steps to see.
    said
        Lines of the critique, where it is not in ``words``.
    """

    name: str
    words: str
    before: str
    after: str
    width: int
    height: int
    steps: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def photo_pairs(
    pipeline: Pipeline, photos: Sequence[Path], progress: Callable[[str, int, int], None]
) -> list[PhotoPair]:
    """Enhance photos and scale both versions down.

    Parameters
    ----------
    pipeline
        The bundle's.
    photos
        Files; those after the first `MOST_PHOTOS` are left out.
    progress
        Called with a photo's name, photos done and photos in all.

    Raises
    ------
    PhotoError
        If a file is not a photo.
    BackendError
        If a network fails.
    """
    chosen = photos[:MOST_PHOTOS]
    pairs = []
    for number, path in enumerate(chosen):
        progress(path.name, number, len(chosen))
        photo = decode(path)
        pairs.append(photo_pair(path.name, photo, pipeline.enhance(photo)))
    progress("photos", len(chosen), len(chosen))
    return pairs


def photo_pair(
    name: str, photo: Photo, enhanced: Enhanced, *, steps: tuple[str, ...] = (), said: tuple[str, ...] = ()
) -> PhotoPair:
    """Return one photo for the report, scaled down.

    Parameters
    ----------
    name, steps, said
        As for :class:`PhotoPair`.
    photo, enhanced
        The photo, and what `enhance` made of it.
    """
    (before, size), (after, _) = _embedded(photo), _embedded(enhanced.photo)
    return PhotoPair(name, enhanced.words, before, after, *size, steps, said)


def small_picture(pixels: ByteImage) -> str:
    """Return an sRGB picture ``(H, W, 3)`` as a ``data:`` address, at most `_STEP_PX` pixels on its long side."""
    image = Image.fromarray(pixels)
    image.thumbnail((_STEP_PX, _STEP_PX), Image.Resampling.LANCZOS)
    return _jpeg(image)


def _embedded(photo: Photo) -> tuple[str, tuple[int, int]]:
    image = Image.fromarray(np.asarray(to_eight_bits(photo.pixels)))
    image.thumbnail((_LONG_SIDE_PX, _LONG_SIDE_PX), Image.Resampling.LANCZOS)
    if photo.icc is not None and handling_of(photo.icc) != "srgb":
        image = Image.fromarray(pixels_to_srgb(np.asarray(image), photo.icc))
    return _jpeg(image), image.size


def _jpeg(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


@dataclass(frozen=True)
class Failure:
    """One frame: what is said of it, and its three pictures as ``data:`` addresses, ``side`` pixels square."""

    entry: GalleryEntry
    before: str
    after: str
    clean: str
    side: int


def failures_of(gallery: Gallery, sheet: Image.Image) -> list[Failure]:
    """Cut a gallery's frames out of its sheet, the worst first."""
    side, found = gallery.picture_px, []
    for entry in gallery.entries:
        before, after, clean = (_cut(sheet, left, entry.top, side) for left in entry.left)
        found.append(Failure(entry, before, after, clean, side))
    return found


def _cut(sheet: Image.Image, left: int, top: int, side: int) -> str:
    out = io.BytesIO()
    sheet.crop((left, top, left + side, top + side)).save(out, "JPEG", quality=_CROP_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


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
