"""``pocketcrafter bench composition``: tilt and framing on the command line, with their bars."""

from pathlib import Path

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.options import SEED, data_option, photos_of, split_option
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.cli.options import backend_option, json_option, threads_option
from pocketcrafter.runtime.errors import GateError


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@data_option
@split_option
@click.option("--per-photo", type=click.IntRange(1), default=8, show_default=True, help="Tilts, and shifts, a photo.")
@backend_option
@threads_option
@json_option
def composition(
    bundle: Path, data: Path, split: str, per_photo: int, backend: str, threads: int, as_json: bool
) -> None:
    r"""Measure levelling on photos tilted by known angles, and framing on shifted crops.

    \b
    Example:
      pocketcrafter bench composition build/default.pcbundle --data data --split validation
    """
    from pocketcrafter.benchmarks.composition.measure import CompositionReport, measure, missed_bars, summarize, table
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.pocket import Pocket

    name = None if backend == "auto" else BackendName(backend)
    session = Bundle.open(bundle).session(Pocket.COMPOSITION, threads, name)
    _, photos = photos_of(data, split)
    measured = measure(session, tqdm(photos, desc="composition", unit="photo"), per_photo, SEED)
    figures = summarize(measured)
    click.echo(
        CompositionReport(figures=figures, photos=tuple(measured)).model_dump_json() if as_json else table(figures)
    )
    if missed := missed_bars(figures):
        raise GateError(
            "Composition bars missed: " + "; ".join(missed) + ". It stays off unless `--geometry` is given."
        )
