"""``pocketcrafter bench learning-curve``."""

import json
from pathlib import Path

import click

from pocketcrafter.runtime.cli.options import json_option


@click.command("learning-curve")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it too: .svg, .png or .pdf.")
@json_option
def learning_curve(results: Path, plot: Path | None, *, as_json: bool) -> None:
    r"""Tell what bounds the critic: photos, frames or neither, from trainings on parts of them.

    RESULTS is what `train learning-curve` wrote: a line of JSON for each training.

    \b
    Example:
      pocketcrafter bench learning-curve runs/learning.jsonl --plot learning.svg
    """
    from pocketcrafter.benchmarks.learning.curve import doublings, learning_text, means, plot_curve
    from pocketcrafter.export.train.learning import read_points

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
