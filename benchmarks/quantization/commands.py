"""The commands of ``pocketcrafter quantize``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketcrafter.benchmarks.common.names import TRIED
from pocketcrafter.benchmarks.common.options import data_option, split_option
from pocketcrafter.export.shipped import DEFAULT_RECIPE, WEIGHTS
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFile, json_option

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.quantization.laboratory import Head, Laboratory
    from pocketcrafter.benchmarks.quantization.trials import TrialSettings
    from pocketcrafter.runtime.progress import Progress

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)

_BITS: dict[str, Any] = {
    "type": click.Choice(["2", "4", "8"]),
    "callback": lambda _context, _option, bits: bits and int(bits),
}

_component = click.argument("component", type=click.Choice(TRIED))
_weights = click.option("--weights", type=_FOLDER, default=WEIGHTS, help="Folder of weights  [default: the shipped].")
_photos = click.option(
    "--most-photos", "photos", type=click.IntRange(1), default=4, show_default=True, help="First photos of the split."
)
_samples = click.option("--samples", type=click.IntRange(5), default=16, show_default=True, help="Calibration samples.")


def _trial_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            _component,
            data_option,
            split_option,
            _photos,
            _samples,
            _weights,
            click.option("--bits", **_BITS, default="4", show_default=True, help="Bits of the decoder's layers."),
            click.option("--journal", type=_FILE, help="Keep measurements here, and go on from them."),
            click.option(
                "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes at a time."
            ),
            json_option,
        )
    ):
        command = option(command)
    return command


def _settings(options: Mapping[str, object]) -> "TrialSettings":
    from pocketcrafter.benchmarks.quantization.trials import TrialSettings

    return TrialSettings.model_validate(options)


def _laboratory(settings: "TrialSettings", journal: Path | None, jobs: int, bars: Bars) -> "tuple[Head, Laboratory]":
    from pocketcrafter.benchmarks.quantization.laboratory import Head, Journal, Laboratory
    from pocketcrafter.benchmarks.quantization.trials import make_trial

    head = Head.of(settings)
    kept = Journal(journal, head)
    bars.update(f"{settings.component}: calibration", 0, 1)
    return head, Laboratory(settings, make_trial(settings), kept, jobs)


def _shown(bars: Bars, what: str) -> "Progress":
    return lambda done, total: bars.update(what, done, total)


@click.command()
@_trial_options
@click.option("--plot", type=_FILE, help="Draw the ranking, as .png or .svg.")
def sensitivity(journal: Path | None, jobs: int, plot: Path | None, *, as_json: bool, **options: object) -> None:
    r"""Rank a component's modules by what each one's quantization does to pictures or words in the end.

    Frames go through the whole pipeline, behind an open gate, with one module in INT8 (in the decoder: one layer in few
    bits) and all else in float32. The tensors' ratio stands beside it.

    \b
    Example:
      pocketcrafter quantize sensitivity restore --data data --split validation --plot restore.png
    """
    from pocketcrafter.benchmarks.quantization import sensitivity as ranking
    from pocketcrafter.benchmarks.quantization.sensitivity import check_plot, plot_sensitivity

    check_plot(plot)
    with Bars() as bars:
        head, laboratory = _laboratory(_settings(options), journal, jobs, bars)
        report = ranking.sensitivity(head, laboratory, _shown(bars, "units"))
    if plot is not None:
        plot_sensitivity(report, plot)
    click.echo(report.model_dump_json(indent=1) if as_json else ranking.sensitivity_table(report))


@click.command()
@_trial_options
@click.option("--budget", required=True, metavar="size=…|gate=…", help="size=1.5MB, or gate=0.3 (ΔE2000, or a share).")
@click.option("--dear-bits", **_BITS, help="Bits of the decoder's spared layers  [default: float32].")
@click.option("--out", type=OutputFile(".yaml", ".yml"), help="Write a recipe that builds the chosen network.")
@click.option(
    "--recipe", type=_FILE, default=DEFAULT_RECIPE, help="What that recipe extends  [default: the shipped one]."
)
def search(
    journal: Path | None,
    jobs: int,
    budget: str,
    dear_bits: int | None,
    out: Path | None,
    recipe: Path,
    *,
    as_json: bool,
    **options: object,
) -> None:
    r"""Find the mixture of precisions that is smallest within a gate, or best within a size.

    Modules are spared one after the other, the most harm for its bytes first, and every mixture is measured.

    \b
    Example:
      pocketcrafter quantize search restore --data data --budget gate=0.3 --out restore.yaml
      pocketcrafter build --recipe restore.yaml
    """
    from pocketcrafter.benchmarks.quantization import search as searching
    from pocketcrafter.export.recipe import load_recipe

    allowed = searching.Budget.parse(budget)
    load_recipe(recipe)
    with Bars() as bars:
        settings = _settings({**options, "dear_bits": dear_bits})
        head, laboratory = _laboratory(settings, journal, jobs, bars)
        report = searching.search(head, laboratory, allowed, _shown(bars, "networks"))
    if out is not None:
        searching.write_overlay(report, recipe, out)
    click.echo(report.model_dump_json(indent=1) if as_json else searching.search_table(report))


@click.command()
@_component
@data_option
@split_option
@_photos
@_samples
@_weights
@json_option
def methods(*, as_json: bool, **options: object) -> None:
    r"""Measure what each method gains over rounding to the nearest level with the widest range.

    \b
    Example:
      pocketcrafter quantize methods tone --data data --split validation
    """
    from pocketcrafter.benchmarks.quantization import methods as trying

    settings = _settings(options)
    with Bars() as bars:
        report = trying.compare_methods(settings, _shown(bars, "methods"))
    click.echo(report.model_dump_json(indent=1) if as_json else trying.methods_table(report))


@click.command("pair")
@click.argument("pair_folder", metavar="PAIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--component",
    type=click.Choice(["encode", "denoise", "decode"]),
    default="denoise",
    show_default=True,
    help="The network that is quantized.",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The pair's own pictures, by `pocketcrafter reference record`.",
)
@click.option("--photos", type=_FOLDER, help="Calibration photos  [default: those that builds take].")
@click.option(
    "--samples",
    type=click.IntRange(5),
    default=32,
    show_default=True,
    help="Calibration samples; of `denoise` five for each step, or more.",
)
@click.option("--psnr", type=float, default=35.0, show_default=True, help="Of the worst picture, dB.")
@click.option("--delta-e", type=float, default=1.0, show_default=True, help="ΔE2000, mean over pictures.")
@click.option("--sqnr", type=float, default=30.0, show_default=True, help="Of the component's output, dB.")
@click.option("--out", type=OutputFile(".yaml", ".yml"), help="Write a recipe that builds the mixture for onnx.")
@click.option(
    "--base",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recipe to change, as another component's `--out`  [default: all else in float].",
)
@json_option
def pair(
    pair_folder: Path,
    component: str,
    reference: Path,
    photos: Path | None,
    samples: int,
    psnr: float,
    delta_e: float,
    sqnr: float,
    out: Path | None,
    base: Path | None,
    *,
    as_json: bool,
) -> None:
    r"""Find what of a latent pair's artist can be INT8.

    Methods are tried side by side; then each module is quantized alone, and the most harmful ones are left in float
    until the pictures are those of the pair's own libraries within the gates.

    \b
    Example:
      pocketcrafter quantize pair my-pair --reference my-pair.pcref --out first.yaml
      pocketcrafter quantize pair my-pair --reference my-pair.pcref --component decode --base first.yaml --out both.yaml
      pocketcrafter build --recipe both.yaml
    """
    from pocketcrafter.benchmarks.common.reference_record import Record
    from pocketcrafter.benchmarks.quantization import pairs
    from pocketcrafter.export.shipped import DEFAULT_RECIPE

    with Bars() as bars:
        bars.update(f"{component}: calibration", 0, 1)
        calibration = photos or DEFAULT_RECIPE.parents[1] / "calibration" / "photos"
        laboratory = pairs.PairLaboratory.open(pair_folder, component, Record(reference), calibration, samples)
        gates = pairs.PairGates(psnr_db=psnr, delta_e=delta_e, sqnr_db=sqnr)
        report = pairs.tune_pair(laboratory, gates, pair_folder.resolve().name, bars.update)
    if out is not None:
        pairs.write_recipe(pair_folder, report, out, base)
    click.echo(report.model_dump_json(indent=1) if as_json else pairs.pair_table(report))
