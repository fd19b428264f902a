"""What the manifest of a latent bundle holds beside its components: prompt, sampler, noise and sizes, all as data."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.embedding import TABLE
from pocketcrafter.runtime.words import counted

TOKENIZER: Final = "tokenizer/tokenizer.json"
"""The critic's vocabulary; every bundle with a critic has it."""


class Latent(StrEnum):
    """A component of the latent family."""

    VISION = "vision"
    LANGUAGE = "language"
    BRIDGE = "bridge"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"


CRITIC: Final = (Latent.VISION, Latent.LANGUAGE)
"""Components that a critic has."""
ARTIST: Final = (Latent.ENCODE, Latent.DENOISE, Latent.DECODE)
"""Components that an artist has; the bridge goes before it where its conditions have another width."""


class Resampling(StrEnum):
    """A filter of Pillow's."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class PictureSettings(Config):
    """How a photo becomes the critic's picture, as its image processor does it."""

    longest_edge: int | None = Field(
        None, ge=1, le=16384, description="The photo is scaled to this first, aspect kept; null where it is not."
    )
    side: int = Field(ge=8, le=4096, description="Then it becomes a square of so many pixels.")
    resampling: Resampling
    mean: tuple[float, float, float] = Field(description="Subtracted from RGB in [0, 1].")
    deviation: tuple[float, float, float] = Field(description="What is left is divided by it.")


class RotarySettings(Config):
    """Rotary embeddings of the language model; see `pocketcrafter.runtime.language.Rotary`."""

    frequencies: tuple[float, ...] = Field(min_length=1, max_length=512)
    scale: float
    sections: tuple[int, ...] = Field((), max_length=3)
    interleaved: bool = False


class CriticSettings(Config):
    """What the critic is asked, and when its answer ends."""

    prompt: tuple[int, ...] = Field(
        min_length=1, max_length=65536, description="Ids of the whole rendered prompt; the picture's tokens go in order"
        " where `picture_token` stands.",
    )  # fmt: skip
    picture_token: int = Field(ge=0)
    stops: tuple[int, ...] = Field(min_length=1, max_length=64, description="Ids that end an answer.")
    longest_answer: int = Field(ge=1, le=8192, description="Most ids of an answer.")
    picture: PictureSettings
    rotary: RotarySettings
    rows: int | None = Field(
        None, ge=1, le=1024, description="Tokens along the picture's side, where positions have several axes: the "
        "picture's are time, row and column, counted from its first token on, and the text goes on behind the largest.",
    )  # fmt: skip


class StepSettings(Config):
    """One step: ``latents ← keep·latents + move·prediction + noise·fresh noise``.

    Flow-matching Euler, Euler, DDIM and LCM are all of this form; a build works the factors out once.
    """

    timestep: float = Field(description="What the network is told, as `TimeSettings` has it.")
    scale: float = Field(1.0, description="Factor on the latents that the network is given.")
    keep: float
    move: float
    noise: float = 0.0


class TimeSettings(Config):
    """How a timestep is told to the network: the sines and cosines of it times each frequency, side by side."""

    frequencies: tuple[float, ...] = Field(min_length=1, max_length=4096, description="Radians for each timestep.")
    cosines_first: bool = Field(description="Whether the cosines come before the sines.")


class AffineSettings(Config):
    """``(x − shift)·scale``."""

    scale: float = 1.0
    shift: float = 0.0


class ArtistSettings(Config):
    """How the artist makes a picture."""

    side: int = Field(ge=16, le=8192, description="Pixels of the square that a photo becomes; aspect not kept.")
    latents: AffineSettings = Field(description="From the autoencoder's latents to those that are denoised.")
    picture: AffineSettings = Field(description="From the autoencoder's latents to those that show the photo.")
    start_noise: float = Field(description="Factor on noise where the steps begin.")
    start_picture: float = Field(description="Factor on the photo's own latents where the steps begin.")
    steps: tuple[StepSettings, ...] = Field(min_length=1, max_length=1000)
    time: TimeSettings
    seed: int = Field(
        ge=0, lt=1 << 53, description="Of the noise: the key of Philox 4x64; every reader of JSON holds it."
    )
    tiles: int = Field(
        0, ge=0, le=4096, description="Most tiles of its size in which it edits a photo's own pixels, where what it did"
        " cannot be carried over as colors.",
    )  # fmt: skip
    bridge_tokens: int | None = Field(
        None, ge=0, le=8192, description="Words of the answer that it reads, after the prompt; all where null."
    )


class LatentSettings(Config):
    """What the manifest of a latent bundle holds beside its components."""

    critic: CriticSettings | None = Field(None, description="Null where there is an artist alone.")
    artist: ArtistSettings | None = Field(None, description="Null where there is a critic alone.")

    @model_validator(mode="after")
    def _sees_a_picture(self) -> Self:
        if self.critic is None and self.artist is None:
            raise ValueError("has neither a critic nor an artist")
        if self.critic is not None and self.critic.picture_token not in self.critic.prompt:
            raise ValueError("critic.prompt has no place for a picture")
        return self


LADDER: Final[Mapping[int, tuple[Gate, ...]]] = {
    3: (
        Gate(metric=Metric.DELTA_E_MEAN, maximum=1.0),
        Gate(metric=Metric.PSNR_DB, minimum=35.0),
        Gate(metric=Metric.TOKEN_AGREEMENT, minimum=0.99),
    ),
}
"""Gates of the rung that looks at whole photos."""


def faults(manifest: Manifest) -> Iterator[str]:
    """Yield what a manifest lacks to be of the family, in words.

    Parameters
    ----------
    manifest
        Of a bundle whose family is `latent`.
    """
    names = {entry.spec.name for entry in manifest.components}
    if strange := sorted(names - set(Latent)):
        yield f"it has no component {', '.join(strange)}; its components are {', '.join(Latent)}"
    wanted = [n for key, parts in (("critic", CRITIC), ("artist", ARTIST)) if manifest.settings.get(key) for n in parts]
    if absent := [name for name in wanted if name not in names]:
        yield f"it lacks {', '.join(absent)}"
    files = {file.path for file in manifest.files}
    if manifest.settings.get("critic") and (not_there := [path for path in (TABLE, TOKENIZER) if path not in files]):
        yield f"the critic needs {', '.join(not_there)}, which `files` has not"


def describe(settings: LatentSettings) -> Iterator[str]:
    """Yield lines on the settings, for people.

    Parameters
    ----------
    settings
        Of one bundle.
    """
    critic, artist = settings.critic, settings.artist
    if critic is not None:
        seen = critic.prompt.count(critic.picture_token)
        yield (
            f"critic: a picture of {critic.picture.side}×{critic.picture.side} px in {seen} of {len(critic.prompt)} "
            f"ids of the prompt; answers of at most {critic.longest_answer} ids"
        )
    if artist is not None:
        yield f"artist: {artist.side}×{artist.side} px, {counted(len(artist.steps), 'step')}, seed {artist.seed}"
