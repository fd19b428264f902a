"""``pocketcrafter bench quantization`` and its companions: other architectures, and memory."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pocketcrafter.benchmarks.common.names import Architecture
from pocketcrafter.benchmarks.common.options import data_option, split_option
from pocketcrafter.export.shipped import DEFAULT_RECIPE, WEIGHTS
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketcrafter.runtime.config import Config

_SHIPPED: Final = tuple(DEFAULT_RECIPE.with_name(f"{name}.yaml") for name in ("int4", "mixed"))


@click.command("quantization")
@data_option
@split_option
@click.option(
    "--most-photos", "photos", type=click.IntRange(1), default=8, show_default=True, help="First photos of the split."
)
@click.option("--samples", type=click.IntRange(5), default=32, show_default=True, help="The decoder's calibration.")
@click.option(
    "--recipe",
    "recipes",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Measure the decoder as this recipe builds it; repeatable  [default: int4 and mixed, as shipped].",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=WEIGHTS,
    help="Folder of weights and of their gate  [default: the shipped].",
)
@json_option
def quantization(
    data: Path, split: str, photos: int, samples: int, recipes: tuple[Path, ...], weights: Path, *, as_json: bool
) -> None:
    r"""Hold the pair in INT8 and in INT4 against itself in full precision, behind its own gate.

    Exit code 1: a bar was missed.

    \b
    Example:
      pocketcrafter bench quantization --data data --split validation
    """
    from pocketcrafter.benchmarks.quantization.bars import bars_table, measure_bars
    from pocketcrafter.benchmarks.quantization.laboratory import Head
    from pocketcrafter.benchmarks.quantization.trials import TrialSettings
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.runtime.attribute_gate import read_gate
    from pocketcrafter.runtime.pocket import Pocket

    settings = TrialSettings(
        component=Pocket.DECODER,
        weights=weights,
        data=data,
        split=Split(split),
        photos=photos,
        samples=samples,
    )
    Head.of(settings)
    gate = read_gate(weights / "gate.json")
    with Bars() as bars:
        report = measure_bars(settings, gate, recipes or _SHIPPED, lambda done, total: bars.update("pair", done, total))
    click.echo(report.model_dump_json(indent=1) if as_json else bars_table(report))
    if report.missed:
        click.echo(f"{counted(len(report.missed), 'bar')} missed", err=True)
        sys.exit(GateError.exit_code)


@click.command("quantization-outside")
@click.option(
    "--model",
    "models",
    type=click.Choice([a.value for a in Architecture]),
    multiple=True,
    help="Only this; repeatable.",
)
@json_option
def outside(models: tuple[str, ...], *, as_json: bool) -> None:
    r"""Quantize architectures that are not ours, with random weights, and compare each with itself.

    \b
    Example:
      pocketcrafter bench quantization-outside
    """
    from pocketcrafter.benchmarks.quantization.outside import measure_outside, outside_table

    with Bars() as bars:
        rows = measure_outside(
            lambda done, total: bars.update("models", done, total),
            [Architecture(m) for m in models] or list(Architecture),
        )
    click.echo(_json(rows) if as_json else outside_table(rows))


@click.command("quantization-memory")
@click.option(
    "--parameters", type=click.IntRange(1), multiple=True, default=(100, 500), show_default=True, help="Millions."
)
@click.option("--bits", type=click.Choice(["4", "8"]), default="4", show_default=True, help="Bits of a weight.")
@json_option
def memory(parameters: tuple[int, ...], bits: str, *, as_json: bool) -> None:
    r"""Measure the peak memory of quantizing random weights that are streamed from a file.

    Exit code 1: a size took more than 2.5 times its float32 weights and 1 GiB.

    \b
    Example:
      pocketcrafter bench quantization-memory --parameters 100 --parameters 500
    """
    from pocketcrafter.benchmarks.quantization.memory import measure_memory, memory_table

    rows = []
    with Bars() as bars:
        for done, millions in enumerate(parameters):
            bars.update(f"{millions} M", done, len(parameters))
            rows.append(measure_memory(millions * 1_000_000, int(bits)))
    click.echo(_json(rows) if as_json else memory_table(rows))
    if any(row.peak_mib > row.bar_mib for row in rows):
        sys.exit(GateError.exit_code)


def _json(rows: "Sequence[Config]") -> str:
    return "[" + ",\n".join(row.model_dump_json() for row in rows) + "]"
