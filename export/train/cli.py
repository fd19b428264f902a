"""``pocketcrafter train``: names its commands without importing torch, which they need."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _Trainings(LazyGroup):
    lazy: ClassVar = {
        name: f"pocketcrafter.export.train.commands:{name}"
        for name in ("estimator", "critic", "tone", "restore", "gate", "decoder", "composition", "judge")
    } | {
        "learning-curve": "pocketcrafter.export.train.commands:learning_curve",
        "latent-vae": "pocketcrafter.export.train.latent.commands:latent_vae",
        "latent-critic": "pocketcrafter.export.train.latent.commands:latent_critic",
        "latent-artist": "pocketcrafter.export.train.latent.commands:latent_artist",
    }


@click.group("train", cls=_Trainings)
def train() -> None:
    r"""Train the networks: estimator, critic, tone, restore, gate, decoder, composition, in this order; each resumes.

    \b
    Example:
      pocketcrafter data prepare --out data
      pocketcrafter train estimator --data data
      pocketcrafter train critic --data data
    """
