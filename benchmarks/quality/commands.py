"""``pocketcrafter bench quality`` and ``bench looks``."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.options import (
    SEED,
    brisque_option,
    data_option,
    features_option,
    kinds_option,
    load_extras,
    most_photos_option,
    per_photo_option,
    photos_of,
    run_option,
    split_option,
)
from pocketcrafter.runtime.cli.options import OutputFolder, backend_option, json_option
from pocketcrafter.runtime.errors import ConfigError, GateError


@click.command("quality")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@data_option
@split_option
@most_photos_option
@per_photo_option(2)
@kinds_option()
@click.option("--peers", is_flag=True, help="Measure what else a user could pick on the same frames.")
@click.option(
    "--maxim",
    type=click.Path(file_okay=False, path_type=Path),
    help="Measure MAXIM too: unpacked npm package @upscalerjs/maxim-retouching; needs TensorFlow, a minute a frame.",
)
@click.option("--gallery", type=OutputFolder(), help="Folder for a sheet of frames.")
@click.option(
    "--gallery-shows",
    "shows",
    type=click.Choice(["worst", "spread"]),
    default="worst",
    show_default=True,
    help="The worst frames, or degraded ones at even ranks from the best to the worst.",
)
@click.option(
    "--journal",
    "resume",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep measured frames in this file, and go on from those that it holds.",
)
@features_option
@run_option
@brisque_option(default=False)
@backend_option
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def quality(
    bundle: Path,
    data: Path,
    split: str,
    most_photos: int | None,
    per_photo: int,
    kinds: Sequence[str],
    maxim: Path | None,
    gallery: Path | None,
    shows: str,
    resume: Path | None,
    run: Path,
    backend: str,
    threads: int,
    *,
    peers: bool,
    features: bool,
    brisque: bool,
    as_json: bool,
) -> None:
    r"""Measure quality on held-out photos: predicted plan, gated, through the whole pipeline.

    Pictures of each kind of frame, each attribute of the plan, the score, and with --peers other tools on the same
    frames. Exit code 1: a gate was missed.

    \b
    Example:
      pocketcrafter bench quality build/default.pcbundle --data data --peers --gallery build/worst
    """
    from pocketcrafter.benchmarks.common.frames import FrameKey, frame_keys, measured_frames
    from pocketcrafter.benchmarks.common.machine import this_machine
    from pocketcrafter.benchmarks.quality.gallery import SHEET_NAME, spread_frames, worst_frames, write_gallery
    from pocketcrafter.benchmarks.quality.gates import missed_gates
    from pocketcrafter.benchmarks.quality.peers import MAXIM, installed_peers, load_maxim
    from pocketcrafter.benchmarks.quality.pictures import Outcome, Peer, PipelineSubject, measure
    from pocketcrafter.benchmarks.quality.results import Journal, JournalHead, QualityReport
    from pocketcrafter.benchmarks.quality.tables import quality_text
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.data.sources import NOISE_FILE
    from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.families import Pipeline

    manifest, photos = photos_of(data, split, most_photos)
    chosen = [FrameKind(kind) for kind in kinds] or list(FrameKind)
    if shows == "spread" and FrameKind.DEGRADED not in chosen:
        raise ConfigError("--gallery-shows spread: it shows degraded frames; measure them too with --kind degraded.")
    opened = Bundle.open(bundle)
    contestants: dict[str, Peer] = {**(installed_peers() if peers else {})}
    if maxim is not None:
        contestants[MAXIM] = load_maxim(maxim)
    extras = load_extras(run, features=features, brisque=brisque)
    subject = PipelineSubject(Pipeline.open(bundle, backend=backend, threads=threads))
    machine = this_machine()
    head = JournalHead(
        manifest_sha256=hashlib.sha256(read_manifest_bytes(opened.root)).hexdigest(),
        split=Split(split),
        seed=SEED,
        photos=tuple(path.name for path in photos),
        kinds=tuple(chosen),
        per_photo=per_photo,
        peers=tuple(contestants),
        features=features,
        brisque=brisque,
        backend=backend,
        threads=threads,
    )
    keys = frame_keys(photos, chosen, per_photo)

    def outcomes(wanted: Collection[FrameKey], what: str, others: Mapping[str, Peer]) -> Iterator[Outcome]:
        frames = measured_frames(photos, data / NOISE_FILE, chosen, per_photo, SEED, wanted)
        progress = tqdm(frames, total=len(wanted), desc=what, unit="frame")
        return measure(progress, subject, others, extras)

    with closing(Journal(resume, head)) as journal:
        for outcome in outcomes(set(keys) - set(journal.done), "quality", contestants):
            journal.add(outcome.quality)
    measured = journal.done
    report = QualityReport(
        bundle=opened.manifest.name,
        manifest_sha256=head.manifest_sha256,
        machine=machine,
        threads=threads,
        split=head.split,
        seed=SEED,
        frames=tuple(measured[key] for key in keys),
    )
    if gallery is not None:
        choose = {"worst": worst_frames, "spread": spread_frames}[shows]
        order = [frame.key for frame in choose(report.frames)]
        shown = {outcome.quality.key: outcome for outcome in outcomes(set(order), "gallery", {})}
        records = {PurePosixPath(record.file).name: record for record in manifest.photos(split)}
        write_gallery([shown[key] for key in order], records, gallery)
        click.echo(f"{shows} frames: {gallery / SHEET_NAME}", err=True)
    summary = report.summary
    click.echo(report.model_dump_json() if as_json else quality_text(summary))
    if missed := missed_gates(summary):
        raise GateError("Quality gates missed: " + "; ".join(missed) + ". Train longer, or tune the gate again.")


@click.command("looks")
@data_option
@per_photo_option(1)
@json_option
def looks(data: Path, per_photo: int, *, as_json: bool) -> None:
    r"""Rank pilgram's looks on validation photos, to choose the one that `bench quality --peers` measures.

    \b
    Example:
      pocketcrafter bench looks --data data
    """
    from pocketcrafter.benchmarks.common.frames import measured_frames
    from pocketcrafter.benchmarks.common.markdown import markdown
    from pocketcrafter.benchmarks.quality.peers import BEST_LOOK, pilgram_looks, rank_looks
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.data.sources import NOISE_FILE

    _, photos = photos_of(data, Split.VALIDATION)
    frames = measured_frames(photos, data / NOISE_FILE, [FrameKind.DEGRADED], per_photo, SEED)
    ranking = rank_looks(tqdm(frames, total=len(photos) * per_photo, desc="looks", unit="frame"), pilgram_looks())
    if as_json:
        click.echo(json.dumps({look.name: look.delta_e_change for look in ranking}))
        return
    rows = [(look.name, f"{look.delta_e_change:+.2f}") for look in ranking]
    click.echo(markdown(("look", "ΔE2000 change"), rows))
    click.echo(f"`bench quality --peers` measures {BEST_LOOK}.")
