"""The commands of ``pocketcrafter bench``: figures with their gates on the command line."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.frames import FrameKind, measured_frames
from pocketcrafter.benchmarks.quality import measure, missed_gates, summarize, table
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.manifest import Split, load_manifest
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.pipeline import PhotoPipeline
from pocketcrafter.runtime.plan import EditPlan

_SEED = 20_260


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Made by `pocketcrafter data prepare`.",
)
@click.option(
    "--split", type=click.Choice([s.value for s in Split]), default="heldout", show_default=True, help="Which photos."
)
@click.option("--per-photo", type=click.IntRange(1), default=2, show_default=True, help="Frames of each kind a photo.")
@click.option(
    "--kind", "kinds", type=click.Choice([k.value for k in FrameKind]), multiple=True, help="Only these frames."
)
@click.option(
    "--backend", type=click.Choice(["auto", *(name.value for name in BackendName)]), default="auto", show_default=True
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print every frame's figures as JSON.")
def quality(
    bundle: Path,
    data: Path,
    split: str,
    per_photo: int,
    kinds: Sequence[str],
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    r"""Measure picture quality on held-out photos: predicted plan, gated, through the whole pipeline.

    \b
    Example:
      pocketcrafter bench quality build/default.pcbundle --data data
    """
    pipeline = PhotoPipeline.open(bundle, backend=backend, threads=threads)
    photos = [data / photo.file for photo in load_manifest(data).photos(Split(split))]
    chosen = [FrameKind(kind) for kind in kinds] or list(FrameKind)

    def enhance(picture: ByteImage) -> tuple[ByteImage, EditPlan]:
        enhanced = pipeline.enhance(Photo(picture, source_format=PhotoFormat.PNG))
        return enhanced.photo.pixels.astype("uint8"), enhanced.plan

    frames = measured_frames(photos, data / "noiseprofiles.json", chosen, per_photo, _SEED)
    total = len(photos) * len(chosen) * per_photo
    qualities = measure(tqdm(frames, total=total, desc="quality", unit="frame"), enhance)
    figures = summarize(qualities)
    click.echo(json.dumps([q.model_dump(mode="json") for q in qualities]) if as_json else table(figures))
    if missed := missed_gates(figures):
        raise GateError("Quality gates missed: " + "; ".join(missed) + ". Train longer, or tune the gate again.")
