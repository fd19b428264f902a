"""Works out what a latent bundle holds beside its networks: settings of critic and artist."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.export.calibration.language import rotary_of
from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.critic_folder import PREPROCESSOR_FILE
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.families.latent.parts import CriticParts, load_critic
from pocketcrafter.export.families.latent.prompt import critic_of, picture_word, stop_words, tokenizer_of
from pocketcrafter.export.families.latent.schedule import Schedule, time_settings
from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.latent.settings import (
    AffineSettings,
    ArtistSettings,
    CriticSettings,
    LatentSettings,
    RotarySettings,
)
from pocketcrafter.runtime.progress import Progress

PAIR: Final = "pair"
"""The stage's input: the pair's folder."""
SETTINGS: Final = ("critic", "artist")
"""Names of the settings, each written as JSON."""


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
