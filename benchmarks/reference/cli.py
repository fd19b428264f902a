"""``pocketcrafter reference``: what a pair's own libraries make of photos, recorded for other machines."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _References(LazyGroup):
    extra = "build"
    lazy: ClassVar = {"record": "pocketcrafter.benchmarks.reference.command:record"}


@click.group("reference", cls=_References)
def reference() -> None:
    r"""Record what a latent pair's own libraries make of photos.

    \b
    Example:
      pocketcrafter reference record my-pair --photos holiday/ --device cuda --out my-pair.pcref
    """
