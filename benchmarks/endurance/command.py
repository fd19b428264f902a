"""``pocketcrafter bench endurance``."""

from pathlib import Path

import click

from pocketcrafter.benchmarks.common.names import SubjectName
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError


@click.command("endurance")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--command",
    "names",
    type=click.Choice([name.value for name in SubjectName]),
    multiple=True,
    default=(SubjectName.ENHANCE.value, SubjectName.DATA.value),
    show_default=True,
    help="What is disturbed; repeatable.",
)
@click.option("--kills", type=click.IntRange(1), default=100, show_default=True, help="Random points to kill each at.")
@click.option(
    "--photo-count", "photos", type=click.IntRange(1), default=4, show_default=True, help="Photos for enhance and data."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `data prepare` made: photos that `train` is run on.",
)
@click.option("--steps", type=click.IntRange(1), default=4, show_default=True, help="Steps of `train restore`.")
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=DEFAULT_RECIPE,
    help="What `build` is run on  [default: the shipped one].",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the points.")
@json_option
def endurance(
    bundle: Path,
    names: tuple[str, ...],
    kills: int,
    photos: int,
    data: Path | None,
    steps: int,
    recipe: Path,
    seed: int,
    *,
    as_json: bool,
) -> None:
    r"""Kill commands at random points, fill their disk, fail their output; look at what they left and run them again.

    Exit code 1: a file was not whole, an exit code was wrong, or a rerun failed.

    \b
    Example:
      pocketcrafter bench endurance build/default.pcbundle
      pocketcrafter bench endurance build/default.pcbundle --command build --kills 20
    """
    from pocketcrafter.benchmarks.endurance import subjects
    from pocketcrafter.benchmarks.endurance.measure import endurance_table, measure_endurance

    chosen = [SubjectName(name) for name in dict.fromkeys(names)]
    if SubjectName.TRAIN in chosen and data is None:
        raise click.UsageError("--command train needs photos: give --data.")
    made = {
        SubjectName.ENHANCE: subjects.enhance(bundle.resolve(), photos),
        SubjectName.DATA: subjects.data_prepare(photos),
        SubjectName.BUILD: subjects.build(recipe.resolve()),
    }
    if data is not None:
        made[SubjectName.TRAIN] = subjects.train(data.resolve(), steps)
    with Bars() as bars:
        report = measure_endurance({name: (made[name], kills) for name in chosen}, seed, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else endurance_table(report))
    if report.faults:
        raise GateError("\n".join(report.faults))
