"""From a photo to the critic's answer and the artist's picture, carried to the photo's own resolution."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pocketcrafter.runtime.embedding import TABLE, EmbeddingTable
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.families import PairSource, Pipeline, family_settings
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.answer import LatentCritique, Vocabulary, critique_of
from pocketcrafter.runtime.latent.artist import LatentArtist, Network
from pocketcrafter.runtime.latent.critic import Answer, Conversation, LatentCritic
from pocketcrafter.runtime.latent.native import CARRIED_DB, carry, edited_in_tiles, tiles_of
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.latent.settings import (
    TOKENIZER,
    ArtistSettings,
    CriticSettings,
    Latent,
    LatentSettings,
)
from pocketcrafter.runtime.names import MAX_STRENGTH, Mode
from pocketcrafter.runtime.photo.load import PhotoLike, load
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.pipeline import Clock, Enhanced, Told
from pocketcrafter.runtime.plan import PlanLike
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.validation import number_in
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from pocketcrafter.runtime.arrays import FloatArray, PixelArray


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
        self._said: tuple[FloatArray, Conversation] | None = None

    def critique(self, photo: PhotoLike) -> LatentCritique:
        """Let the critic answer; for the photo that was enhanced last, it goes on with the answer that it had begun.

        Parameters
        ----------
        photo
            Whatever `load` takes.

        Raises
        ------
        PhotoError
            If the photo cannot be read.
        ConfigError
            If there is no critic, or the package `tokenizers` is not installed.
        BackendError
            If a network fails.
        """
        start, critic = time.perf_counter(), self._critic_settings
        answer = self.answer(load(photo))
        seconds = time.perf_counter() - start
        return critique_of(answer.ids, critic.stops, self._vocabulary, seconds)

    def prose(self, photo: PhotoLike, mode: Mode = Mode.FULL) -> Told:
        """Refuse: the critique of this family is prose already.

        Parameters
        ----------
        photo, mode
            As for :meth:`pocketcrafter.runtime.pipeline.PhotoPipeline.prose`; not read.

        Raises
        ------
        ConfigError
            Always; it says what to leave out.
        """
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

        What is carried over is what the edit changed of the decoded photo, so that an edit of nothing changes nothing.
        To a photo of the artist's own size it is added pixel by pixel. Any other gets what a grid of color transforms
        can carry over. Where that misses much, the artist edits the photo's own pixels in tiles, if the bundle allows
        as many; otherwise a note says what is missing.

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
        strength = number_in(strength, 0, MAX_STRENGTH, "The strength")
        if plan is not None or geometry or crop:
            raise ConfigError(
                "The artist of this bundle takes no plan and does not level or crop: leave --plan, --set, --only, "
                "--geometry and --crop out."
            )
        artist = self._artist_settings
        photo, clock = load(photo), Clock()
        words, hidden = 0, None
        if self.artist.reads_critic:
            longest = self._critic_settings.longest_answer
            words = longest if artist.bridge_tokens is None else min(longest, artist.bridge_tokens)
        told = _Steps(progress, words, len(artist.steps))
        if self.artist.reads_critic:
            with clock.stage("critique"):
                hidden = self._conversation(photo).states(artist.bridge_tokens, told.words)
        pixels, notes = self.edited(photo, hidden, strength, told.steps, clock)
        return Enhanced(
            source=photo.path,
            photo=photo.with_pixels(pixels),
            plan=None,
            critique=None,
            timings=clock.seconds,
            said=f"edited in {counted(len(artist.steps), 'step')}",
            notes=notes,
        )

    def answer(self, photo: Photo, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Answer:
        """Return the critic's answer and its hidden states; raises as :meth:`critique`.

        Parameters
        ----------
        photo
            What it looks at.
        progress
            As `pocketcrafter.runtime.latent.critic.Conversation.finish` takes it.
        """
        return self._conversation(photo).finish(progress)

    def follow(self, photo: Photo, written: Sequence[int]) -> Answer:
        """Read an answer that is given, as `pocketcrafter.runtime.latent.critic.LatentCritic.follow` does.

        Parameters
        ----------
        photo
            What it looks at.
        written
            The answer, at least one word.
        """
        return self.critic.follow(critics_picture(photo, self._critic_settings.picture), written)

    def edited(
        self,
        photo: Photo,
        hidden: "FloatArray | None",
        strength: float = 1.0,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
        clock: Clock | None = None,
    ) -> "tuple[PixelArray, tuple[str, ...]]":
        """Let the artist edit a photo as it understands the critic.

        Parameters
        ----------
        photo
            At any size.
        hidden
            The critic's hidden states, ``(positions, width)``; `None` for an artist whose conditions are fixed.
        strength
            Factor on the edit.
        progress
            Told how many runs of `denoise` of how many are done; tiles make them more.
        clock
            Told the seconds of each stage.

        Returns
        -------
        tuple
            Pixels of the photo's size, and what to say of them.

        Raises
        ------
        BackendError
            If a network fails.
        """
        artist, clock = self.artist, clock or Clock()
        with clock.stage("edit"):
            change = artist.change(artists_picture(photo, artist.settings.side), hidden, progress)
        with clock.stage("transfer"):
            carried = carry(photo, change, strength, self._threads)
        if carried.error_db >= CARRIED_DB:
            return carried.pixels, carried.notes
        count, allowed, runs = tiles_of(photo, artist), artist.settings.tiles, len(artist.settings.steps)
        if not 0 < count <= allowed:
            return carried.pixels, (*carried.notes, _missing(count, allowed))
        with clock.stage("tiles"):
            pixels = edited_in_tiles(
                photo, artist, change, hidden, strength, lambda done, of: progress(runs + done, runs + of)
            )
        return pixels, (
            f"edited in {counted(count, 'tile')} at the photo's own size: colors alone would not carry the edit.",
        )

    @cached_property
    def critic(self) -> LatentCritic:
        """The opened critic."""
        source, settings = self._source, self._critic_settings
        return LatentCritic(
            source.session(Latent.VISION),
            source.session(Latent.LANGUAGE),
            source.session(Latent.LANGUAGE, PREFILL),
            source.bundle.manifest.entry(Latent.LANGUAGE).spec,
            EmbeddingTable.open(source.bundle.file(TABLE)),
            settings,
        )

    @cached_property
    def artist(self) -> LatentArtist:
        """The opened artist."""
        settings = self._artist_settings
        bridge = self._network(Latent.BRIDGE) if self._source.has(Latent.BRIDGE) else None
        encode, denoise, decode = (self._network(name) for name in (Latent.ENCODE, Latent.DENOISE, Latent.DECODE))
        return LatentArtist(encode, denoise, decode, bridge, settings)

    def _network(self, name: Latent) -> Network:
        return Network(self._source.session(name), self._source.bundle.manifest.entry(name).spec)

    def _conversation(self, photo: Photo) -> Conversation:
        """Return what the critic says of a photo, as far as it has come: the last photo's is kept."""
        picture = critics_picture(photo, self._critic_settings.picture)
        if self._said is None or not np.array_equal(self._said[0], picture):
            self._said = picture, self.critic.begin(picture)
        return self._said[1]

    @property
    def _critic_settings(self) -> CriticSettings:
        if self._settings.critic is None:
            raise ConfigError(
                "This bundle has an artist alone, with one look: `pocketcrafter enhance` runs it. Build one with a "
                "critic beside it."
            )
        return self._settings.critic

    @property
    def _artist_settings(self) -> ArtistSettings:
        if self._settings.artist is None:
            raise ConfigError(
                "This bundle has a critic alone: `pocketcrafter critique` runs it. Build one with an artist beside it."
            )
        return self._settings.artist

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._source.bundle.file(TOKENIZER))


def _missing(count: int, allowed: int) -> str:
    lost = "new content and removed noise are not carried over"
    if not count:
        return f"{lost}: the photo has no more pixels than the artist's picture, but another shape."
    return f"{lost}: they would take {counted(count, 'tile')} at the photo's own size, and the bundle allows {allowed}."


class _Steps:
    """Adds words and steps up to one progress."""

    def __init__(self, progress: Progress | None, words: int, steps: int) -> None:
        self._progress, self._words, self._steps = progress, words, steps

    def words(self, done: int, _of: int) -> None:
        """Tell of words written."""
        if self._progress is not None:
            self._progress(done, self._words + self._steps)

    def steps(self, done: int, of: int) -> None:
        """Tell of steps done; an answer that ended early counts as whole."""
        if self._progress is not None:
            self._progress(self._words + done, self._words + of)


def latent_pipeline(source: PairSource, threads: int) -> LatentPipeline:
    """Return the pipeline of a latent bundle.

    Parameters
    ----------
    source, threads
        As for :class:`LatentPipeline`.

    Raises
    ------
    BundleError
        If the bundle is of another family.
    """
    return LatentPipeline(source, threads)
