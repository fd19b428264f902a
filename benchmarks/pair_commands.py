"""Small benches of a bundle: ``pocketcrafter bench budget|composition|opening|proofs|latent-studio|bridge``."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.options import (
    SEED,
    data_option,
    most_photos_option,
    per_photo_option,
    photos_of,
    run_option,
    split_option,
)
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.cli.options import OutputFile, backend_option, json_option, threads_option
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from pocketcrafter.export.data.degrade import ByteImage

_SHOWN = 8


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
    from pocketcrafter.benchmarks.composition import CompositionReport, measure, missed_bars, summarize, table
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


@click.command("budget")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the full-precision weights  [default: what is installed].",
)
@json_option
def budget(bundle: Path, weights: Path | None, *, as_json: bool) -> None:
    r"""Count a bundle's parameters and bytes against what a phone can spare.

    The critic's parameters are counted with the composition network's, the artist's are tone and restoration. Exit
    code 1: something is over its budget.

    \b
    Example:
      pocketcrafter bench budget build/default.pcbundle
    """
    from pocketcrafter.benchmarks.budget import BudgetReport, budget_tables
    from pocketcrafter.runtime.bundle.reader import Bundle

    report = BudgetReport.of(Bundle.open(bundle), weights)
    click.echo(report.model_dump_json(indent=1) if as_json else budget_tables(report))
    if over := report.overspent:
        raise GateError(f"Over the phone's budget: {'; '.join(over)}. Fewer bits or smaller networks are needed.")


@click.command("opening")
@click.option("--mib", type=click.IntRange(32, 2000), default=200, show_default=True, help="File size.")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True, help="Of each, interleaved.")
@json_option
def opening(mib: int, repeats: int, *, as_json: bool) -> None:
    r"""Measure how long opening an artifact takes, and how long the check that it is unchanged takes before it.

    Exit code 1: a check after the first takes more than 5 % of opening.

    \b
    Example:
      pocketcrafter bench opening --mib 200
    """
    from pocketcrafter.benchmarks.opening import MOST_SHARE, measure_opening, opening_text

    report = measure_opening(mib, repeats)
    click.echo(report.model_dump_json(indent=1) if as_json else opening_text(report))
    if report.later_share > MOST_SHARE:
        raise GateError(f"A later check takes {report.later_share:.1%} of opening; at most {MOST_SHARE:.0%} is asked.")


@click.command("proofs")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@json_option
def proofs_command(bundles: tuple[Path, ...], *, as_json: bool) -> None:
    r"""Show what ran each artifact: device, runtime, emulator, nothing.

    Read off the manifests alone: the strongest rung of each component on each target that was really run. Several
    bundles of one pair are one table.

    \b
    Example:
      pocketcrafter bench proofs build/default.pcbundle build/apple.pcbundle
    """
    from pocketcrafter.benchmarks.proofs import proof_lines, proofs
    from pocketcrafter.runtime.bundle.reader import Bundle

    table = proofs([Bundle.open(bundle).manifest for bundle in bundles])
    click.echo(table.model_dump_json(indent=1) if as_json else proof_lines(table))


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

    from pocketcrafter.benchmarks.latent_studio import measure_studio, sheet, studio_text
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


@click.command("bridge")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@data_option
@split_option
@most_photos_option
@per_photo_option(2)
@backend_option
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def bridge(
    bundle: Path,
    data: Path,
    split: str,
    most_photos: int | None,
    per_photo: int,
    backend: str,
    threads: int,
    *,
    as_json: bool,
) -> None:
    r"""Take the critic's plan tokens away from the artist, or give it another photo's, and see what the picture loses.

    With the gated prediction, as a bundle works, and with the true plan. Exit code 1: with predicted plans, neither
    zeroed nor shuffled tokens hurt measurably.

    \b
    Example:
      pocketcrafter bench bridge build/default.pcbundle --data data
    """
    from pocketcrafter.benchmarks.common.frames import measured_frames
    from pocketcrafter.benchmarks.token_ablation import (
        BridgeReport,
        PlanSource,
        TokenAblation,
        ablate,
        bridge_table,
    )
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.data.sources import NOISE_FILE
    from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.families import BundleSource
    from pocketcrafter.runtime.pipeline import PocketSource

    _, photos = photos_of(data, split, most_photos)
    opened = Bundle.open(bundle)
    source = PocketSource(BundleSource(opened, None if backend == "auto" else BackendName(backend), threads))
    frames = list(measured_frames(photos, data / NOISE_FILE, [FrameKind.DEGRADED], per_photo, SEED))
    steps = ablate(frames, TokenAblation(source, threads), SEED)
    progress = tqdm(steps, total=len(frames) * len(PlanSource), desc="bridge", unit="plan")
    report = BridgeReport(
        bundle=opened.manifest.name,
        manifest_sha256=hashlib.sha256(read_manifest_bytes(opened.root)).hexdigest(),
        split=Split(split),
        seed=SEED,
        measured=len(frames),
        frames=tuple(frame for frame in progress if frame is not None),
    )
    verdicts = [report.verdict(plan) for plan in PlanSource]
    click.echo(report.model_dump_json() if as_json else "\n\n".join([bridge_table(report), *verdicts]))
    if not report.tokens_matter(PlanSource.PREDICTED):
        raise GateError(f"The bridge is not proved. {report.verdict(PlanSource.PREDICTED)} Train `tone` longer.")
