"""``pocketcrafter distill``: names its commands without importing torch, which they need."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _Distillations(LazyGroup):
    lazy: ClassVar = {
        name: f"pocketcrafter.export.distill.commands:{name}"
        for name in ("critic", "artist", "align", "qat", "equalize")
    } | {"from-labels": "pocketcrafter.export.distill.labels.commands:from_labels"}


@click.group("distill", cls=_Distillations)
def distill() -> None:
    r"""Teach a phone's networks what a studio's larger ones know; each resumes.

    \b
    Example:
      pocketcrafter train critic --studio --data data
      pocketcrafter distill qat decoder --bits 4 --data data
      pocketcrafter distill critic --teacher runs/studio-critic.safetensors --data data
    """
