"""``pocketcrafter quantize``: names its commands without importing torch, which they need."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _Quantizations(LazyGroup):
    extra = "bench"
    lazy: ClassVar = {
        **{
            name: f"pocketcrafter.benchmarks.quantization.commands:{name}"
            for name in ("sensitivity", "search", "methods", "pair")
        },
        "schemes": "pocketcrafter.benchmarks.quantization.schemes:schemes",
    }


@click.group("quantize", cls=_Quantizations)
def quantize() -> None:
    r"""Find out what quantization costs, and which modules should be spared.

    \b
    Example:
      pocketcrafter quantize sensitivity restore --data data --plot restore.png
      pocketcrafter quantize search decoder --data data --budget gate=0.02 --out int4.yaml
    """
