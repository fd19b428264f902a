"""Loads a latent pair's components, and draws their samples by running the whole pair on photos in full precision.

What a latent bundle holds beside its networks, the settings of critic and artist, is worked out here too.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

from pocketcrafter.export.backend import full_precision_session
from pocketcrafter.export.calibration.language import rotary_of
from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.family import NO_OPTIONS, WEIGHTS, Drawn, Part, Sample
from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.critic_folder import PREPROCESSOR_FILE
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.families.latent.parts import CriticParts, load_critic, load_part
from pocketcrafter.export.families.latent.prompt import critic_of, picture_word, stop_words, tokenizer_of
from pocketcrafter.export.families.latent.schedule import Schedule, time_settings
from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.calibration import held_back
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.embedding import EmbeddingTable
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.artist import LatentArtist, Network
from pocketcrafter.runtime.latent.critic import LatentCritic
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.latent.settings import (
    CRITIC,
    AffineSettings,
    ArtistSettings,
    CriticSettings,
    Latent,
    LatentSettings,
    RotarySettings,
)
from pocketcrafter.runtime.photo import Photo, decode
from pocketcrafter.runtime.photo.model import SUFFIXES
from pocketcrafter.runtime.progress import Progress

PAIR: Final = "pair"
"""The stage's input: the pair's folder."""
SETTINGS: Final = ("critic", "artist")
"""Names of the settings, each written as JSON."""
PHOTOS: Final = "photos"
"""Input of a component's examples: the folder of calibration photos."""
_LONGEST_ANSWER: Final = 8
"""Words of an answer while samples are drawn: later ones are alike, and each takes a step."""
_LEAST_SHARE: Final = 0.6
"""Of a photo's sides that a sample sees."""
Keep = Callable[[str, str | None, Sample], None]
"""Told which component and function ran on what."""


def run(inputs: Mapping[str, Path], settings: Config, out: Path, progress: Progress) -> None:
    """Write ``critic.json`` and ``artist.json``, ``null`` where there is none.

    Parameters
    ----------
    inputs
        Paths by input name, as the stage declares them.
    settings
        The settings of the stage.
    out
        Empty directory for the result.
    progress
        Called with steps done and steps in all.
    """
    del settings
    pair = read_pair(inputs[PAIR])
    critic = load_critic(pair) if pair.critic else None
    progress(1, 2)
    made = settings_of(pair, critic)
    for name in SETTINGS:
        said = getattr(made, name)
        (out / f"{name}.json").write_text("null" if said is None else said.model_dump_json(indent=1), encoding="utf-8")
    progress(2, 2)


def settings_of(pair: Pair, critic: CriticParts | None) -> LatentSettings:
    """Return the settings of a pair.

    Parameters
    ----------
    pair
        Read from its folder.
    critic
        Its loaded critic, `None` without one.

    Raises
    ------
    CheckpointError
        If processor or scheduler say what is not known.
    """
    artist = None if pair.artist is None else _artist(pair, pair.artist)
    return LatentSettings(critic=None if critic is None else _critic(pair, critic), artist=artist)


def _critic(pair: Pair, critic: CriticParts) -> CriticSettings:
    tokenizer = tokenizer_of(pair)
    rotary, own = rotary_of(critic.language.model), critic_of(pair)
    path = own.folder / PREPROCESSOR_FILE
    picture = own.kind.picture(path, read_json(path, "save the processor again"), critic.geometry.side)
    return CriticSettings(
        prompt=critic.prompt,
        picture_token=picture_word(pair, tokenizer),
        stops=stop_words(pair, tokenizer),
        longest_answer=pair.config.longest_answer,
        picture=picture,
        rows=critic.geometry.rows if own.kind.in_rows else None,
        rotary=RotarySettings(
            frequencies=tuple(float(f) for f in rotary.frequencies),
            scale=rotary.scale,
            sections=rotary.sections,
            interleaved=rotary.interleaved,
        ),
    )


def _artist(pair: Pair, artist: Artist) -> ArtistSettings:
    folder = str(artist.folder / "scheduler")
    schedule = Schedule(artist.scheduler, folder, pair.config.steps, (artist.latent_side // 2) ** 2)
    first, noise, picture = schedule.start(pair.config.strength if artist.begins_at_photo else None)
    latents = AffineSettings(scale=artist.scale, shift=artist.shift)
    return ArtistSettings(
        side=artist.side,
        latents=latents,
        picture=AffineSettings() if artist.shows_unscaled else latents,
        start_noise=noise,
        start_picture=picture,
        steps=schedule.steps(first),
        time=time_settings(artist),
        seed=pair.config.seed,
        bridge_tokens=pair.config.bridge_tokens,
        tiles=pair.config.tiles,
    )


class _Recorded:
    """A network that tells what it is given."""

    def __init__(self, part: Part, function: str | None, keep: Keep) -> None:
        self._session = full_precision_session(part, function)
        self._name, self._function, self._keep = part.spec.name, function, keep

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `pocketcrafter.runtime.backends.base.Session`."""
        self._keep(self._name, self._function, {name: array.copy() for name, array in inputs.items()})
        return self._session.run(inputs)


class TorchPair:
    """A whole pair in full precision, on the CPU: its `settings`, `critic` and `artist`, `None` where there is none.

    The torch module of the critic's language model is its `language`.

    Parameters
    ----------
    pair
        Its folder.
    keep
        Told of all inputs of all networks.
    only
        A component: only what it needs is loaded.
    longest_answer
        Most words of an answer, where fewer than the pair's are wanted.
    """

    def __init__(
        self,
        pair: Pair,
        keep: Keep = lambda _component, _function, _sample: None,
        only: str | None = None,
        longest_answer: int | None = None,
    ) -> None:
        parts = load_critic(pair) if pair.critic else None
        self.settings = _shortened(settings_of(pair, parts), longest_answer)
        self.language = None if parts is None else parts.language.model
        self.critic = None if parts is None else self._open_critic(parts, keep)
        self.artist: LatentArtist | None = None
        if pair.artist is not None and only not in CRITIC:
            self.artist = self._open_artist(pair, keep)

    def run(self, photo: Photo) -> FloatArray | None:
        """Return the artist's picture of a photo, `None` without an artist."""
        critic, settings, hidden = self.critic, self.settings.critic, None
        if critic is not None and settings is not None:
            hidden = critic.answer(critics_picture(photo, settings.picture)).hidden
        if self.artist is None:
            return None
        return self.artist.change(artists_picture(photo, self.artist.settings.side), hidden).after

    def _open_critic(self, parts: CriticParts, keep: Keep) -> LatentCritic:
        settings = self.settings.critic
        if settings is None:
            raise ConfigError("A pair without a critic has no settings of one.")
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-table-") as folder:
            quantize_embedding(parts.language.table, Path(folder) / "table.safetensors")
            table = EmbeddingTable.open(Path(folder) / "table.safetensors")
        step, prefill = (_Recorded(parts.language, function, keep) for function in (None, PREFILL))
        vision = _Recorded(parts.vision, None, keep)
        return LatentCritic(vision, step, prefill, parts.language.spec, table, settings)

    def _open_artist(self, pair: Pair, keep: Keep) -> LatentArtist:
        settings = self.settings.artist
        if settings is None:
            raise ConfigError(f"{pair.folder}: has no artist.")
        parts = {name: load_part(pair, name) for name in pair.roles if name not in CRITIC}
        opened = {name: Network(_Recorded(part, None, keep), part.spec) for name, part in parts.items()}
        encode, denoise, decode = (opened[name] for name in (Latent.ENCODE, Latent.DENOISE, Latent.DECODE))
        return LatentArtist(encode, denoise, decode, opened.get(Latent.BRIDGE), settings)


def _shortened(settings: LatentSettings, longest_answer: int | None) -> LatentSettings:
    critic = settings.critic
    if critic is None or longest_answer is None or longest_answer >= critic.longest_answer:
        return settings
    return settings.model_copy(update={"critic": critic.model_copy(update={"longest_answer": longest_answer})})


class _LatentNetworks:
    """See `pocketcrafter.export.families.family.NetworkSource`; weights are the pair's folder."""

    def content(self, weights: Path) -> FolderFiles:
        return read_pair(weights).files

    def load(self, component: str, inputs: Mapping[str, Path], options: Mapping[str, JsonValue] = NO_OPTIONS) -> Part:
        del options  # pair.yaml decides, which is one of the files
        return load_part(read_pair(inputs[WEIGHTS]), component)

    def draw(
        self,
        part: Part,
        inputs: Mapping[str, Path],
        count: int,
        seed: int,
        collector: HessianCollector | None = None,
        function: str | None = None,
    ) -> Drawn:
        kept: list[Sample] = []
        measured_with = held_back(count)

        def keep(component: str, called: str | None, sample: Sample) -> None:
            if (component, called) == (part.spec.name, function):
                kept.append(sample)
            if collector is not None:
                collector.enabled = len(kept) <= count - measured_with

        pair = TorchPair(read_pair(inputs[WEIGHTS]), keep, part.spec.name, _LONGEST_ANSWER)
        # GPTQ rounds the weights of language models alone.
        watching: AbstractContextManager[None] = nullcontext()
        if collector is not None and pair.language is not None and part.spec.role is Role.LANGUAGE:
            watching = collector.attached(pair.language)
        with watching:
            shown = self._shown(pair, part, inputs, count, seed, kept)
        return Drawn(kept[:count], shown)

    def _shown(
        self, pair: TorchPair, part: Part, inputs: Mapping[str, Path], count: int, seed: int, kept: Sequence[Sample]
    ) -> tuple[Path, ...]:
        """Show photos to a pair until there are enough samples; return them."""
        shown = []
        for path, photo in _photos(inputs[PHOTOS], seed):
            before = len(kept)
            pair.run(photo)
            shown.append(path)
            if len(kept) == before:
                raise ConfigError(
                    f"`{part.spec.name}` does not run a step on {path.name}: the critic's answer ends at its first "
                    "word, so that no sample can be drawn. Is it trained?"
                )
            if len(kept) >= count:
                break
        return tuple(dict.fromkeys(shown))


def _photos(folder: Path, seed: int) -> Iterator[tuple[Path, Photo]]:
    """Yield cuts of photos without end, in an order and at places that the seed decides."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"{folder}: holds no photo; calibration takes some, as those that the package ships.")
    generator = np.random.default_rng(seed)
    while True:
        for index in generator.permutation(len(paths)):
            photo = decode(paths[index])
            height, width = (
                max(1, int(generator.uniform(_LEAST_SHARE, 1.0) * side)) for side in photo.pixels.shape[:2]
            )
            top, left = (
                int(generator.integers(0, whole - side + 1))
                for whole, side in ((photo.height, height), (photo.width, width))
            )
            yield paths[index], photo.with_pixels(photo.pixels[top : top + height, left : left + width])


LATENT_NETWORKS: Final = _LatentNetworks()
