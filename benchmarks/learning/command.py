"""``pocketcrafter bench learning-curve``."""

import json
from pathlib import Path

import click

from pocketcrafter.benchmarks.learning.curve import doublings, learning_text, means, read_points
from pocketcrafter.benchmarks.learning.plot import plot_curve
from pocketcrafter.runtime.cli.options import json_option


@click.command("learning-curve")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it too: .svg, .png or .pdf.")
@json_option
def learning_curve(results: Path, plot: Path | None, *, as_json: bool) -> None:
    r"""Tell what bounds the critic: photos, frames or neither, from trainings on parts of them.

    RESULTS holds a line of JSON for each training: photos, frames, seed, plan_r2, delta_e_change, of validation frames.

    \b
    Example:
      pocketcrafter bench learning-curve runs/learning.jsonl --plot learning.svg
    """
    averages = means(read_points(results))
    found = doublings(averages)
    if plot is not None:
        plot_curve(averages, plot)
    if as_json:
        click.echo(
            json.dumps({"means": [m.model_dump() for m in averages], "doublings": [d.model_dump() for d in found]})
        )
        return
    click.echo(learning_text(averages, found))
