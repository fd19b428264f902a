"""``pocketcrafter teacher``: names its commands without importing what they work with."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _Teachers(LazyGroup):
    lazy: ClassVar = {
        name: f"pocketcrafter.export.teachers.commands:{name}" for name in ("inspect", "cost", "merge", "convert")
    }


@click.group("teacher", cls=_Teachers)
def teacher() -> None:
    r"""Look into published critics and artists, and prepare them.

    \b
    Example:
      pocketcrafter teacher inspect SmartPhotoCrafter/
      pocketcrafter teacher cost smart-photo-crafter --count 1000000 --gpus 64
      pocketcrafter teacher merge SmartPhotoCrafter/ dit --out merged/transformer
    """
