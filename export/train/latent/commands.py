"""``pocketcrafter train latent-vae``, ``latent-critic`` and ``latent-artist``: the latent studio, part by part."""

from pathlib import Path
from typing import Final

import click
from tqdm import tqdm

from pocketcrafter.export.train.options import TrainOptions, stored_frames, tell, train_network, with_options

_FOLDER: Final = "latent-studio"
"""Of the pair, in the folder of weights."""
_ARTIST_FRAMES: Final = 6000


@click.command(
    "latent-vae", epilog="Example: pocketcrafter train latent-vae --data data --run runs/latent --weights runs/latent"
)
@with_options
def latent_vae(options: TrainOptions) -> None:
    """Train the latent studio's autoencoder on stored frames."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.latent_studio import AUTOENCODER, new_autoencoder
    from pocketcrafter.export.train.latent.autoencoder import AutoencoderTask

    settings = options.fit_settings(steps=800, batch=8)
    task = AutoencoderTask(new_autoencoder(), stored_frames(options, Split.TRAIN), settings, options.torch_device())
    model, losses = train_network("latent-vae", task, settings, options.run / "latent-vae")
    path = options.weights / _FOLDER / AUTOENCODER
    model.cpu().half().save_pretrained(path)  # type: ignore[operator] # diffusers is untyped
    tell(path, settings.steps, losses, as_json=options.as_json)


@click.command(
    "latent-critic",
    epilog="Example: pocketcrafter train latent-critic --data data --run runs/latent --weights runs/latent",
)
@with_options
def latent_critic(options: TrainOptions) -> None:
    """Train the latent studio's critic to write what should be done."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.latent_studio import CRITIC, new_critic, save_critic
    from pocketcrafter.export.train.latent.critic import CriticTask, Told
    from pocketcrafter.export.train.latent.texts import build_tokenizer

    settings = options.fit_settings(steps=1200, batch=32).model_copy(update={"learning_rate": 1e-3})
    store = stored_frames(options, Split.TRAIN)
    tokenizer = build_tokenizer(store.plans, store.scores)
    told = Told(new_critic(tokenizer.get_vocab_size()))
    task = CriticTask(told, store, tokenizer, settings, options.torch_device())
    _, losses = train_network("latent-critic", task, settings, options.run / "latent-critic")
    path = options.weights / _FOLDER / CRITIC
    save_critic(told.critic.cpu(), tokenizer, path)
    tell(path, settings.steps, losses, as_json=options.as_json)


@click.command(
    "latent-artist",
    epilog="Example: pocketcrafter train latent-artist --data data --run runs/latent --weights runs/latent",
)
@click.option(
    "--start",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Pair whose artist the training goes on from.  [default: an untrained one]",
)
@click.option(
    "--any-level", is_flag=True, help="Train at any noise level: a teacher of more steps than the pair's own."
)
@with_options
def latent_artist(options: TrainOptions, *, start: Path | None, any_level: bool) -> None:
    """Train the latent studio's artist, with the trained autoencoder and critic."""
    from torch import nn

    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.latent_studio import (
        CONDITION_WIDTH,
        WIDTH,
        load_artist,
        new_unet,
        save_artist,
    )
    from pocketcrafter.export.train.latent.artist import Artist, ArtistTask
    from pocketcrafter.export.train.latent.frames import Networks, build_latent_frames

    settings = options.fit_settings(steps=800, batch=16).model_copy(update={"learning_rate": 1e-3})
    device, pair = options.torch_device(), options.weights / _FOLDER
    networks, store = Networks(pair, device), stored_frames(options, Split.TRAIN)
    frames = min(_ARTIST_FRAMES, len(store))
    with tqdm(total=frames, desc="latent frames", unit="frame") as bar:
        made = build_latent_frames(options.run / "latent-frames", store, networks, frames, bar.update)
    begun = load_artist(start) if start else (new_unet(), nn.Linear(WIDTH, CONDITION_WIDTH))
    artist = Artist(*begun).requires_grad_()
    task = ArtistTask(artist, made, settings, device, any_level=any_level)
    folder = options.run / ("latent-artist-any-level" if any_level else "latent-artist")
    _, losses = train_network("latent-artist", task, settings, folder)
    save_artist(artist.unet.cpu(), artist.bridge.cpu(), pair)
    tell(pair, settings.steps, losses, as_json=options.as_json)
