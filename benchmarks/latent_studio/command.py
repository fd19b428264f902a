"""``pocketcrafter bench latent-studio``: a latent pair on frames whose clean selves are known."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.options import data_option, run_option
from pocketcrafter.runtime.cli.options import OutputFile, backend_option, json_option
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from pocketcrafter.export.data.degrade import ByteImage

_SHOWN = 8


@click.command("latent-studio")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@data_option
@run_option
@click.option(
    "--frames", type=click.IntRange(2), default=240, show_default=True, help="Validation frames, from the first."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the frames, as `train` has it.")
@click.option(
    "--sheet",
    "sheet_file",
    type=OutputFile(".png"),
    help="Picture of the first frames: untouched, own words, true words, clean.",
)
@backend_option
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def latent_studio(
    *,
    bundle: Path,
    data: Path,
    run: Path,
    frames: int,
    seed: int,
    sheet_file: Path | None,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    r"""Measure the latent studio on validation frames.

    Each frame is edited twice: by what the critic writes, and by what it should write. Exit code 1: the pictures do not
    beat the untouched degraded frames.

    \b
    Example:
      pocketcrafter build latent-studio --target onnx --out build/studio.pcbundle
      pocketcrafter bench latent-studio build/studio.pcbundle --data data --run runs --sheet build/studio.png
    """
    from tokenizers import Tokenizer

    from pocketcrafter.benchmarks.latent_studio.measure import measure_studio, sheet, studio_text
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.shipped import WEIGHTS
    from pocketcrafter.export.train.options import TrainOptions, stored_frames
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.families import Pipeline
    from pocketcrafter.runtime.latent.settings import TOKENIZER

    # What a training is told besides does not change the frames of this split.
    options = TrainOptions(data, run, WEIGHTS, None, 1, seed, "cpu", None, as_json)
    store = stored_frames(options, Split.VALIDATION)
    words = Tokenizer.from_file(str(Bundle.open(bundle).file(TOKENIZER)))
    pipeline = Pipeline.open(bundle, backend=backend, threads=threads)
    shown: list[list[ByteImage]] = []
    with tqdm(total=min(frames, len(store)), desc="latent studio", unit="frame") as bar:
        figures = measure_studio(
            pipeline,
            words,
            store,
            frames,
            bar.update,
            lambda row: shown.append([*row]) if len(shown) < _SHOWN else None,
        )
    if sheet_file is not None:
        sheet(shown).save(sheet_file)
    click.echo(figures.model_dump_json() if as_json else studio_text(figures))
    if missed := figures.missed:
        raise GateError(f"The pair does not beat the untouched frames: {', '.join(missed)}.")
