"""``pocketcrafter data label``: what a teacher says and shows of a folder of photos, on a machine or a cluster."""

import json
from pathlib import Path
from typing import Final

import click

from pocketcrafter.export.teachers.systems import SystemName
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.words import counted

_SHARD: Final = 16
_BATCH: Final = 8
_SHOWN: Final = 10
_folder = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("label")
@click.option("--teacher", type=_folder, required=True, help="The teacher's folder: a release, or a latent pair.")
@click.option("--photos", type=_folder, required=True, help="Folder of photos, and of folders of them.")
@click.option("--out", type=OutputFolder(), required=True, help="Folder of the labels.")
@click.option("--address", help="Of a running Ray cluster.  [default: Ray is started here, and ended]")
@click.option("--workers", type=click.IntRange(1), help="Teachers at a time.  [default: one for each GPU, or core]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What computes.")
@click.option("--threads", type=click.IntRange(1), help="Torch threads of each worker.  [default: 1 on CPUs]")
@click.option(
    "--hidden",
    type=click.Choice(["float16", "int8", "none"]),
    default="float16",
    show_default=True,
    help="How hidden states are stored: int8 has a scale for each 64 values.",
)
@click.option(
    "--pictures",
    type=click.Choice(["webp", "png", "none"]),
    default="webp",
    show_default=True,
    help="How the teacher's pictures are stored, without loss; none: it does not edit.",
)
@click.option(
    "--shard", type=click.IntRange(1, 4096), default=_SHARD, show_default=True, help="Photos of a part of the labels."
)
@click.option(
    "--batch",
    type=click.IntRange(1, 256),
    default=_BATCH,
    show_default=True,
    help="Photos that a teacher's language model answers of at once.",
)
@click.option("--layout", type=click.Choice([name.value for name in SystemName]), help="Whose layout the folder has.")
@click.option("--instruction", help="Told to a teacher that edits by words and has no critic.")
@click.option("--teacher-steps", type=click.IntRange(1), help="Steps of its artist.  [default: its release's]")
@click.option("--side", type=click.IntRange(32), help="Of its pictures, px.  [default: its release's]")
@click.option("--longest-answer", type=click.IntRange(1), help="Most words.  [default: its release's]")
@json_option
def label(
    *,
    teacher: Path,
    photos: Path,
    out: Path,
    address: str | None,
    workers: int | None,
    device: str,
    threads: int | None,
    hidden: str,
    pictures: str,
    shard: int,
    batch: int,
    layout: str | None,
    instruction: str | None,
    teacher_steps: int | None,
    side: int | None,
    longest_answer: int | None,
    as_json: bool,
) -> None:
    r"""Label photos by a teacher: words, numbers, hidden states and pictures.

    Each photo is labelled once, by its content. What cannot be labelled is set aside with its reason. Run it again to
    resume: parts that are there are kept, on whatever nodes. Photos and labels are on a disk that all nodes see under
    one name.

    \b
    Example:
      pocketcrafter data label --teacher SmartPhotoCrafter --photos photos --device cuda --out labels
      pocketcrafter data label --teacher my-pair --photos photos --address ray://head:10001 --out labels
    """
    from pocketcrafter.export.labels.engine import label_photos
    from pocketcrafter.export.labels.labeller import Job, teacher_sha256
    from pocketcrafter.export.labels.store import HiddenForm, LabelSettings, LabelStore, PictureForm
    from pocketcrafter.export.teachers.inspect import license_of
    from pocketcrafter.export.teachers.layout import read_layout
    from pocketcrafter.runtime.files import only_writer

    found = read_layout(teacher, SystemName(layout) if layout else None)
    own = found.system.sampling
    settings = LabelSettings(
        teacher=found.name,
        teacher_sha256=teacher_sha256(found),
        license=license_of(found),
        steps=teacher_steps or own.steps,
        side=side or own.side,
        answer=longest_answer or own.answer,
        seed=own.seed,
        instruction=instruction,
        hidden=HiddenForm(hidden),
        pictures=PictureForm(pictures),
    )
    with only_writer(out):
        store = LabelStore.make(out, settings)
        job = Job(
            teacher=teacher.resolve(),
            photos=photos.resolve(),
            out=out.resolve(),
            device=device,
            threads=threads or (1 if device == "cpu" else None),
            batch=batch,
            settings=settings,
        )
        with Bars() as bars:
            made = label_photos(store, job, address, workers, shard, bars.update)
    bad, sizes = store.quarantined(), store.sizes()
    if as_json:
        said = {"out": str(out), **made.model_dump(), "bytes": sizes, "quarantine": [vars(q) for q in bad]}
        click.echo(json.dumps(said, indent=1))
        return
    speed = f"{made.photos_per_second:.2f} a second by {counted(made.workers, 'worker')}"
    click.echo(f"{out}: {counted(made.labelled, 'photo')} labelled in {made.seconds:.0f} s, {speed}")
    click.echo(f"{made.contents} contents in {counted(made.photos, 'file')}; {made.rounds - 1} rounds for lost workers")
    click.echo(f"tables {sizes['tables'] / 1e6:.1f} MB, pictures {sizes['pictures'] / 1e6:.1f} MB")
    click.echo(f"licence of the teacher: {settings.license}")
    told = [*(f"{q.path}: {q.reason}" for q in bad), *(f"{path}: cannot be read" for path in made.unreadable)]
    if told:
        click.echo(f"set aside: {counted(len(told), 'photo')}")
        click.echo("\n".join(f"  {line}" for line in told[:_SHOWN]))
