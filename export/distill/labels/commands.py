"""``pocketcrafter distill from-labels``: the default pair learns from what a teacher said and showed of photos."""

import json
from pathlib import Path

import click

from pocketcrafter.export.train.options import TrainOptions, with_options
from pocketcrafter.runtime.cli.options import OutputFolder
from pocketcrafter.runtime.words import counted

_folder = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("from-labels")
@click.argument("labels", type=_folder)
@click.option("--photos", type=_folder, required=True, help="The folder that was labelled.")
@click.option("--out", type=OutputFolder(), required=True, help="Folder of the student's weights and their recipe.")
@with_options
def from_labels(options: TrainOptions, *, labels: Path, photos: Path, out: Path) -> None:
    r"""Teach the default pair by a teacher's labels.

    LABELS is a folder that `data label` made, of any teacher. What a teacher's picture does to its photo is inferred as
    an edit plan, by fitting the renderer, and told with what is left; the critic learns the plans, the judge which of
    their parts bring a photo nearer to the teacher's picture, tone the teacher's tones, restoration what is neither,
    the decoder the edits and scores that texts tell. Training begins with the
    weights in --weights and leaves them as they are.

    \b
    Example:
      pocketcrafter data label --teacher my-pair --photos photos --out labels
      pocketcrafter distill from-labels labels --photos photos --out taught
      pocketcrafter build --recipe taught/recipe.yaml
    """
    from pocketcrafter.export.distill.labels.run import LEAST_RESTORED, teach
    from pocketcrafter.runtime.pocket import Pocket

    made = teach(options, labels, photos, out)
    if options.as_json:
        click.echo(json.dumps(made.model_dump(), indent=1))
        return
    click.echo(
        f"{out}: taught by {counted(made.photos, 'photo')}: {counted(made.pictures, 'picture')}, "
        f"{counted(made.texts, 'text')} that tell edits, {counted(made.restored, 'photo')} with something restored"
    )
    near = ", ".join(f"{name.removesuffix('_db')} {value:.1f} dB" for name, value in made.residuals.items())
    click.echo(f"to the teacher's pictures: {near}")
    for name, losses in made.losses.items():
        said = ", ".join(f"{part} {value:.4f}" for part, value in losses.items()) or "nothing left to learn"
        if name == Pocket.RESTORE and made.restored < LEAST_RESTORED:
            said = f"as it was, since it takes {LEAST_RESTORED} photos with something restored"
        click.echo(f"{name}: {said}")
    click.echo(f"build it: --recipe {out / 'recipe.yaml'}")
