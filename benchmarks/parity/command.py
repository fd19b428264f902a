"""``pocketcrafter bench parity``: the ladder on this machine, and its results in the bundle."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from pocketcrafter.benchmarks.common.options import (
    SEED,
    data_option,
    most_photos_option,
    photos_of,
    split_option,
    weights_option,
)
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option, threads_option
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.words import counted

_PHOTOS: Final = "tests/photos"


def _studio_files(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Read ``COMPONENT=FILE`` pairs."""
    from pocketcrafter.benchmarks.parity.studio import STUDIO_COMPONENTS

    found: dict[str, Path] = {}
    for value in values:
        name, _, file = value.partition("=")
        if name not in STUDIO_COMPONENTS or name in found or not Path(file).is_file():
            names = ", ".join(STUDIO_COMPONENTS)
            raise click.BadParameter(f"{value!r}: give COMPONENT=FILE, each once, of {names}.", ctx, param)
        found[name] = Path(file)
    return found


@click.command("parity")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--target", "targets", multiple=True, help="Only this target; may be given again.")
@click.option(
    "--photos",
    type=click.Path(),
    multiple=True,
    default=(_PHOTOS,),
    show_default=True,
    help="A photo, a folder or a pattern for rung 3; repeatable. None that calibrated the bundle.",
)
@weights_option
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rung 3 of a latent pair: what its own libraries made of photos, by `pocketcrafter reference record`.",
)
@click.option(
    "--studio-weights",
    "studio",
    metavar="COMPONENT=FILE",
    multiple=True,
    callback=_studio_files,
    help="Run rung 0 too: a larger network in a student's place; repeatable. Needs --data.",
)
@data_option
@split_option
@most_photos_option
@click.option("--store/--no-store", default=True, show_default=True, help="Write the results into the bundle.")
@threads_option
@json_option
def parity(
    bundle: Path,
    targets: tuple[str, ...],
    photos: tuple[str, ...],
    weights: Path | None,
    reference: Path | None,
    studio: dict[str, Path],
    data: Path,
    split: str,
    most_photos: int | None,
    threads: int,
    *,
    store: bool,
    as_json: bool,
) -> None:
    r"""Climb the parity ladder: tensors, goldens and whole photos of every target that runs on this machine.

    Rung 3 sends photos through each target and through the full-precision pipeline; of a latent pair, it holds each
    target against a record of the pair's own libraries. Emulators and interpreters stand in
    for processors that are not here: their figures are no device's. Exit code 1: a gate was missed.

    \b
    Example:
      pocketcrafter bench parity build/default.pcbundle --photos holiday/
      pocketcrafter bench parity build/pair.pcbundle --reference pair.pcref
    """
    from pocketcrafter.benchmarks.common.frames import MeasuredFrame, measured_frames
    from pocketcrafter.benchmarks.common.reference_record import Record
    from pocketcrafter.benchmarks.parity.measure import climb
    from pocketcrafter.benchmarks.parity.results import parity_lines
    from pocketcrafter.benchmarks.parity.results import store as store_report
    from pocketcrafter.benchmarks.parity.studio import STUDIO_KINDS
    from pocketcrafter.export.data.sources import NOISE_FILE
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.cli.inputs import find_photos

    opened = Bundle.open(bundle)
    found, errors = find_photos(photos)
    if errors:
        raise errors[0]
    frames: list[MeasuredFrame] = []
    if studio:
        _, prepared = photos_of(data, split, most_photos)
        frames = list(measured_frames(prepared, data / NOISE_FILE, STUDIO_KINDS, 1, SEED))
    with Bars() as bars:
        report = climb(
            opened,
            targets,
            found,
            weights=weights,
            record=None if reference is None else Record(reference),
            studio=studio,
            frames=frames,
            split=split,
            threads=threads,
            progress=bars.update,
        )
    manifest = store_report(bundle, report) if store else opened.manifest
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(parity_lines(report, manifest)))
    if report.failures:
        click.echo(f"{counted(len(report.failures), 'gate')} missed", err=True)
        sys.exit(GateError.exit_code)
