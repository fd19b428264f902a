"""What ``pair.yaml`` may say."""

from typing import Final

from pydantic import Field

from pocketcrafter.runtime.config import Config

_PROMPT: Final = (
    "Look at this photo and judge its quality, color and light, composition and mood. Then say how it should be "
    "edited, and give it a score from 0 to 100."
)


class PairTeacher(Config):
    """A teacher whose pictures, words or latents a pair was trained on."""

    name: str = Field(min_length=1, max_length=200)
    license: str = Field(min_length=1, max_length=100, description="SPDX identifier, as `teacher inspect` tells it.")
    text: str = Field(description="File of the licence's text in the pair's folder; bundles carry it.")
    url: str | None = Field(None, max_length=500)


class PairConfig(Config):
    """What ``pair.yaml`` says; a pair without one has the defaults."""

    prompt: str = Field(_PROMPT, min_length=1, description="What the critic is asked beside the photo.")
    critic_side: int | None = Field(
        None, ge=28, le=4096,
        description="Pixels of the square that a critic of any size (Qwen) sees; 448 where null.",
    )  # fmt: skip
    longest_answer: int = Field(64, ge=1, le=4096, description="Most words of its answer.")
    bridge_tokens: int | None = Field(
        None, ge=0, le=4096,
        description="Words of the answer that the artist reads, beside the whole prompt; all of them where none is "
        "given. With few, the picture does not wait for the end of the answer.",
    )  # fmt: skip
    side: int | None = Field(
        None,
        ge=16,
        le=8192,
        description="Pixels of the artist's square picture; its configuration's where null.",
    )
    autoencoder_side: int | None = Field(
        None, ge=16, le=8192,
        description="Pixels of the squares in which the autoencoder encodes and decodes larger pictures, to take less "
        "memory; as `side` where null.",
    )  # fmt: skip
    tiles: int = Field(
        16, ge=0, le=4096,
        description="Most tiles of the artist's size in which it edits a photo's own pixels, where what it did to the "
        "small picture cannot be carried over as colors: new content, removed noise.",
    )  # fmt: skip
    steps: int = Field(4, ge=1, le=100, description="Steps of the artist.")
    seed: int = Field(0, ge=0, lt=1 << 53, description="Of the artist's noise.")
    strength: float = Field(
        0.5, gt=0, le=1, description="For an artist that begins at the photo's own latents: how much noise they get."
    )
    mask: float = Field(
        1.0, ge=0, le=1,
        description="For an inpainting artist (9 channels): the mask, alike everywhere. From 0.5 on it covers the "
        "photo, which the network then does not see beside its latents.",
    )  # fmt: skip
    whole_picture: bool = Field(
        False, description="Show the critic one picture even where its processor would cut the photo into several."
    )
    teachers: tuple[PairTeacher, ...] = Field((), max_length=16, description="What the pair was distilled from.")
    commercial: bool = Field(
        False, description="The pair's bundles are for commercial use: refused where a licence forbids it."
    )
