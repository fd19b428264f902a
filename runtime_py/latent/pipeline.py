"""From a photo to the critic's answer and the artist's picture, carried to the photo's own resolution."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.embedding import TABLE, EmbeddingTable
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.families import PairSource, Pipeline, family_settings
from pocketcrafter.runtime.grid import blended
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.answer import LatentCritique, Vocabulary, critique_of
from pocketcrafter.runtime.latent.artist import LatentArtist
from pocketcrafter.runtime.latent.critic import Answer, LatentCritic
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.latent.settings import (
    TOKENIZER,
    ArtistSettings,
    Latent,
    LatentSettings,
)
from pocketcrafter.runtime.latent.transfer import fit_transfer
from pocketcrafter.runtime.names import MAX_STRENGTH, Mode
from pocketcrafter.runtime.photo.load import PhotoLike, load
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.pipeline import Clock, Enhanced, Told
from pocketcrafter.runtime.plan import EditPlan, PlanLike
from pocketcrafter.runtime.progress import Progress

_CARRIED_DB: Final = 30.0
"""Below this, the grid leaves out what people see: new content, removed noise."""


class LatentPipeline(Pipeline):
    """Critiques and enhances photos with a latent pair; opens each network when it is first needed.

    Parameters
    ----------
    source
        Where the networks come from.
    threads
        Threads for the arithmetic outside the networks, ≥ 1.
    """

    def __init__(self, source: PairSource, threads: int) -> None:
        settings = family_settings(source.bundle.manifest)
        if not isinstance(settings, LatentSettings):
            raise BundleError(f"{source.bundle.path}: not a bundle of the latent family.")
        self._source, self._threads, self._settings = source, threads, settings

    def critique(self, photo: PhotoLike) -> LatentCritique:
        """Let the critic answer.

        Raises
        ------
        PhotoError
            If the photo cannot be read.
        ConfigError
            If the package `tokenizers` is not installed.
        BackendError
            If a network fails.
        """
        start = time.perf_counter()
        answer = self.answer(load(photo))
        seconds = time.perf_counter() - start
        return critique_of(answer.ids, self._settings.critic.stops, self._vocabulary, seconds)

    def prose(self, photo: PhotoLike, mode: Mode = Mode.FULL) -> Told:
        """Refuse: the critique of this family is prose already."""
        del photo, mode
        raise ConfigError("The critic of this bundle always answers in words: leave --prose out.")

    def enhance(
        self,
        photo: PhotoLike,
        strength: float = 1.0,
        progress: Progress | None = None,
        *,
        plan: PlanLike | None = None,
        geometry: bool = False,
        crop: bool = False,
    ) -> Enhanced:
        """Let the artist edit the photo as it understands the critic, and carry that to the photo's own resolution.

        A photo of the artist's own size becomes the artist's very picture at full strength. Any other gets what a grid
        of color transforms can carry over; where that misses much, a note says so.

        Parameters
        ----------
        photo
            Whatever `load` takes; it is not changed.
        strength
            Factor on the edit, in [0, 2]; 0 changes nothing.
        progress
            Called with (words and steps done, at most to do).
        plan, geometry, crop
            Refused: the artist reads what the critic thinks, not numbers.

        Raises
        ------
        PhotoError
            If the photo cannot be read.
        ConfigError
            If there is no artist, the strength is not in [0, 2], or something is asked for that it cannot do.
        BackendError
            If a network fails.
        """
        if not 0 <= strength <= MAX_STRENGTH:
            raise ConfigError(f"The strength is from 0 to {MAX_STRENGTH:g}, not {strength:g}.")
        if plan is not None or geometry or crop:
            raise ConfigError(
                "The artist of this bundle takes no plan and does not level or crop: leave --plan, --set, --only, "
                "--geometry and --crop out."
            )
        artist = self._settings.artist
        if artist is None:
            raise ConfigError(
                "This bundle has a critic alone: `pocketcrafter critique` runs it. Build one with an artist beside it."
            )
        photo, clock = load(photo), Clock()
        told = _Steps(progress, self._settings.critic.longest_answer, len(artist.steps))
        with clock.stage("critique"):
            answer = self.answer(photo, told.words)
        pixels, notes = self.edited(photo, answer, strength, told.steps, clock)
        return Enhanced(
            photo=photo.with_pixels(pixels),
            plan=None,
            critique=None,
            timings=clock.seconds,
            said=f"edited in {len(artist.steps)} steps",
            notes=notes,
        )

    def answer(self, photo: Photo, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Answer:
        """Return the critic's answer and its hidden states; raises as :meth:`critique`."""
        return self.critic.answer(critics_picture(photo, self._settings.critic.picture), progress)

    def follow(self, photo: Photo, written: Sequence[int]) -> Answer:
        """Read an answer that is given, as `pocketcrafter.runtime.latent.critic.LatentCritic.follow` does."""
        return self.critic.follow(critics_picture(photo, self._settings.critic.picture), written)

    def edited(
        self,
        photo: Photo,
        answer: Answer,
        strength: float = 1.0,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
        clock: Clock | None = None,
    ) -> tuple[PixelArray, tuple[str, ...]]:
        """Let the artist edit a photo as it understands an answer; pixels of the photo's size, and notes."""
        clock = clock or Clock()
        with clock.stage("edit"):
            before = artists_picture(photo, self.artist.settings.side)
            after = self.artist.edit(before, answer.hidden, progress)
        with clock.stage("transfer"):
            return self._carried(photo, before, after, strength)

    @cached_property
    def critic(self) -> LatentCritic:
        """The opened critic."""
        bundle, settings = self._source.bundle, self._settings.critic
        return LatentCritic(
            self._source.session(Latent.VISION),
            self._source.session(Latent.LANGUAGE),
            self._source.session(Latent.LANGUAGE, PREFILL),
            bundle.manifest.entry(Latent.LANGUAGE).spec,
            EmbeddingTable.open(bundle.file(TABLE)),
            settings,
        )

    @cached_property
    def artist(self) -> LatentArtist:
        """The opened artist."""
        settings = self._settings.artist
        if not isinstance(settings, ArtistSettings):
            raise ConfigError("This bundle has a critic alone.")
        source = self._source
        return LatentArtist(
            source.session(Latent.ENCODE),
            source.session(Latent.DENOISE),
            source.session(Latent.DECODE),
            source.bundle.manifest.entry(Latent.DENOISE).spec,
            source.session(Latent.BRIDGE) if source.has(Latent.BRIDGE) else None,
            settings,
        )

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._source.bundle.file(TOKENIZER))

    def _carried(
        self, photo: Photo, before: FloatArray, after: FloatArray, strength: float
    ) -> tuple[PixelArray, tuple[str, ...]]:
        if strength == 1 and photo.pixels.shape == after.shape and photo.icc is None:
            levels = np.rint(after * np.iinfo(photo.pixels.dtype).max)
            return levels.astype(np.uint8) if photo.pixels.dtype == np.uint8 else levels.astype(np.uint16), ()
        transfer = fit_transfer(before, after)
        pixels = develop(photo.pixels, EditPlan(), blended(transfer.grid, strength), threads=self._threads)
        note = f"of the edit at {before.shape[1]}×{before.shape[0]} px, {transfer.error_db:.1f} dB are carried over"
        lost = transfer.error_db < _CARRIED_DB
        more = "; new content and removed noise are not: they would take the artist at the photo's own size"
        return pixels, (f"{note}{more if lost else ''}.",)


class _Steps:
    """Adds words and steps up to one progress."""

    def __init__(self, progress: Progress | None, words: int, steps: int) -> None:
        self._progress, self._words, self._all = progress, words, words + steps

    def words(self, done: int, _of: int) -> None:
        """Tell of words written."""
        if self._progress is not None:
            self._progress(done, self._all)

    def steps(self, done: int, _of: int) -> None:
        """Tell of steps done; an answer that ended early counts as whole."""
        if self._progress is not None:
            self._progress(self._words + done, self._all)


def latent_pipeline(source: PairSource, threads: int) -> LatentPipeline:
    """Return the pipeline of a latent bundle."""
    return LatentPipeline(source, threads)
