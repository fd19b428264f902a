"""``pocketcrafter bench bridge``."""

import hashlib
from pathlib import Path

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.options import (
    SEED,
    data_option,
    most_photos_option,
    per_photo_option,
    photos_of,
    split_option,
)
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.cli.options import backend_option, json_option
from pocketcrafter.runtime.errors import GateError


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
    from pocketcrafter.benchmarks.token_ablation.measure import (
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
