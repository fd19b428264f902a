"""``pocketcrafter bench risk-coverage`` and ``bench proposals``."""

import json
from pathlib import Path

import click

from pocketcrafter.benchmarks.common.options import data_option, run_option
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.options import TRAIN_FRAMES
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.plan_judge import PROPOSALS

_SPLITS = ("validation", "heldout")


_weights_option = click.option(
    "--weights",
    type=click.Path(file_okay=False, path_type=Path),
    default=WEIGHTS,
    help="Folder of critic and gate. [default: the shipped ones]",
)
_seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of the frames, as `train` has it."
)


@click.command("risk-coverage")
@data_option
@run_option
@_weights_option
@click.option("--split", type=click.Choice(_SPLITS), default="validation", show_default=True, help="Which photos.")
@_seed_option
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it too: .svg, .png or .pdf.")
@json_option
def risk_coverage(
    *, data: Path, run: Path, weights: Path, split: str, seed: int, plot: Path | None, as_json: bool
) -> None:
    r"""Hold the judge of proposals against the gate at equal harm.

    The judge is the one that `train judge` left in the folder of runs. Each line is one way to choose what is done to
    the same frames, from bold to timid; the oracle knows the truth.

    \b
    Example:
      pocketcrafter bench risk-coverage --data data --run runs --plot risk.svg
    """
    from pocketcrafter.benchmarks.risk.measure import plot_risk, risk_curves, risk_text
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.train.judge_inputs import load_judge, proposed_frames
    from pocketcrafter.export.train.options import TrainOptions
    from pocketcrafter.runtime.attribute_gate import read_gate

    # What a training is told besides does not change the frames of these splits.
    options = TrainOptions(data, run, weights, None, 1, seed, "cpu", None, as_json)
    judge, gate = load_judge(options), read_gate(weights / "gate.json")
    points = risk_curves(proposed_frames(options, Split(split)), judge, gate.attributes)
    if plot is not None:
        plot_risk(points, plot)
    click.echo(json.dumps([point.model_dump() for point in points]) if as_json else risk_text(points))


@click.command("proposals")
@data_option
@run_option
@_weights_option
@_seed_option
@click.option("--frames", type=click.IntRange(64), default=1000, show_default=True, help="Degraded frames to look at.")
@click.option("--count", type=click.IntRange(1, 24), default=PROPOSALS, show_default=True, help="Proposals to take.")
@json_option
def proposals(*, data: Path, run: Path, weights: Path, seed: int, frames: int, count: int, as_json: bool) -> None:
    r"""Choose the parts of a plan that a judge looks at.

    Forward selection on training frames of which the critic's siblings never saw the photos: each time the part is
    taken that adds most to what an oracle gains that picks the best of those taken.

    \b
    Example:
      pocketcrafter bench proposals --data data --run runs --frames 1000
    """
    from tqdm import tqdm

    from pocketcrafter.benchmarks.risk.measure import select_proposals, selection_text
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.train.judge_inputs import proposed_frames
    from pocketcrafter.export.train.options import TrainOptions

    options = TrainOptions(data, run, weights, None, TRAIN_FRAMES, seed, "cpu", None, as_json)
    proposed = proposed_frames(options, Split.TRAIN)
    with tqdm(total=frames, desc="parts", unit="frame") as bar:
        selection = select_proposals(proposed, frames, count, bar.update)
    click.echo(selection.model_dump_json() if as_json else selection_text(selection))
