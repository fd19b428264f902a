"""Benches of training and of teachers: ``pocketcrafter bench learning-curve|steps|latent-steps|prose`` and others."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import click
from tqdm import tqdm

from pocketcrafter.benchmarks.common.names import AS_IT_IS, STEPS_KINDS, FrameKind
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
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.cli.options import backend_option, json_option
from pocketcrafter.runtime.errors import GateError

_POCKET = WEIGHTS / "restore.safetensors"
_BACKENDS = click.Choice([name.value for name in BackendName])
_KINDS = (FrameKind.DEGRADED, FrameKind.CLEAN)


@click.command("learning-curve")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it too: .svg, .png or .pdf.")
@json_option
def learning_curve(results: Path, plot: Path | None, *, as_json: bool) -> None:
    r"""Tell what bounds the critic: photos, frames or neither, from trainings on parts of them.

    RESULTS is what `train learning-curve` wrote: a line of JSON for each training.

    \b
    Example:
      pocketcrafter bench learning-curve runs/learning.jsonl --plot learning.svg
    """
    from pocketcrafter.benchmarks.learning import doublings, learning_text, means, plot_curve
    from pocketcrafter.export.train.learning import read_points

    averages = means(read_points(results))
    found = doublings(averages)
    if plot is not None:
        plot_curve(averages, plot)
    if as_json:
        click.echo(
            json.dumps({"means": [m.model_dump() for m in averages], "doublings": [d.model_dump() for d in found]})
        )
        return
    click.echo(learning_text(averages, found))


def _named_files(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE`` or ``NAME=FOLDER`` pairs."""
    found: dict[str, Path] = {}
    for value in values:
        name, _, file = value.partition("=")
        if not name or not file or name in found or name == AS_IT_IS:
            raise click.BadParameter(
                f"{value!r}: give {param.metavar}, each name once and none `{AS_IT_IS}`.", ctx, param
            )
        found[name] = Path(file)
    return found


@click.command("steps")
@data_option
@split_option
@most_photos_option
@per_photo_option(1)
@kinds_option(STEPS_KINDS)
@click.option(
    "--network",
    "weights",
    metavar="NAME=FILE",
    multiple=True,
    default=(f"pocket={_POCKET}",),
    callback=_named_files,
    help="A restoration network of any size, as `train restore` writes it; repeatable  [default: the pocket network].",
)
@click.option(
    "--euler-steps",
    "steps",
    type=click.IntRange(1, 64),
    multiple=True,
    help="Euler steps; repeatable  [default: 1, 2, 4 and the network's own].",
)
@features_option
@run_option
@brisque_option(default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def steps(
    data: Path,
    split: str,
    most_photos: int | None,
    per_photo: int,
    kinds: Sequence[str],
    weights: dict[str, Path],
    steps: Sequence[int],
    run: Path,
    threads: int,
    *,
    features: bool,
    brisque: bool,
    as_json: bool,
) -> None:
    r"""Measure what each Euler step of restoration buys: float32 in torch, with the true amounts, on one fault a tile.

    \b
    Example:
      pocketcrafter bench steps --data data --network pocket=pocket.safetensors --network studio=studio.safetensors
    """
    import torch

    from pocketcrafter.benchmarks.common.frames import measured_frames
    from pocketcrafter.benchmarks.common.machine import this_machine
    from pocketcrafter.benchmarks.steps import (
        NetworkFacts,
        StepsReport,
        measure_steps,
        networks_table,
        step_counts,
        steps_table,
    )
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.data.sources import NOISE_FILE
    from pocketcrafter.export.models import restore_network

    _, photos = photos_of(data, split, most_photos)
    networks = {name: restore_network(file) for name, file in weights.items()}
    extras = load_extras(run, features=features, brisque=brisque)
    torch.set_num_threads(threads)
    machine = this_machine()
    chosen = [FrameKind(kind) for kind in kinds] or list(STEPS_KINDS)
    frames = measured_frames(photos, data / NOISE_FILE, chosen, per_photo, SEED)
    progress = tqdm(frames, total=len(photos) * len(chosen) * per_photo, desc="steps", unit="tile")
    report = StepsReport(
        machine=machine,
        threads=threads,
        split=Split(split),
        seed=SEED,
        networks=tuple(
            NetworkFacts(
                name=name,
                sha256=hashlib.sha256(weights[name].read_bytes()).hexdigest(),
                parameters=sum(p.numel() for p in network.parameters()),
                config=network.config,
            )
            for name, network in networks.items()
        ),
        frames=tuple(measure_steps(progress, networks, step_counts(networks, steps), extras)),
    )
    click.echo(report.model_dump_json() if as_json else f"{networks_table(report)}\n\n{steps_table(report)}")


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@data_option
@split_option
@most_photos_option
@per_photo_option(1)
@backend_option
@click.option("--against", type=_BACKENDS, help="Compare greedy choices with this backend, given the same words.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def prose(
    bundle: Path,
    data: Path,
    split: str,
    most_photos: int | None,
    per_photo: int,
    backend: str,
    against: str | None,
    threads: int,
    as_json: bool,
) -> None:
    r"""Measure the critic's prose: format, agreement with the plan, truth of its facts, speed, parity of backends.

    Each frame is told at length and in short, once with the plan behind the bundle's gate and once with a random one.

    \b
    Example:
      pocketcrafter bench prose build/default.pcbundle --data data --split validation --against torch
    """
    import numpy as np
    from tokenizers import Tokenizer

    from pocketcrafter.benchmarks.common.frames import measured_frames
    from pocketcrafter.benchmarks.common.prose import PlanKind, cases
    from pocketcrafter.benchmarks.prose import (
        fault_figures,
        fault_table,
        greedy_agreement,
        judge,
        likelihood,
        missed_gates,
        summarize,
        table,
    )
    from pocketcrafter.export.data.sources import NOISE_FILE
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.names import Mode
    from pocketcrafter.runtime.pipeline import gate_of
    from pocketcrafter.runtime.pocket import TOKENIZER, Pocket
    from pocketcrafter.runtime.prose.tokenizer import Words
    from pocketcrafter.runtime.prose.writer import Writer

    opened = Bundle.open(bundle)
    chosen = None if backend == "auto" else BackendName(backend)
    gate = gate_of(opened.manifest)
    looking = (Pocket.CRITIC,) if gate.judge is None else (Pocket.CRITIC, Pocket.JUDGE)
    networks = {c: opened.session(c, threads, chosen) for c in (*looking, Pocket.DECODER)}
    decoder = networks[Pocket.DECODER]
    other = opened.session(Pocket.DECODER, threads, BackendName(against)) if against else None
    words, tokenizer = Words.read(opened.file(TOKENIZER)), Tokenizer.from_file(str(opened.file(TOKENIZER)))
    _, photos = photos_of(data, split, most_photos)
    frames = measured_frames(photos, data / NOISE_FILE, _KINDS, per_photo, SEED)
    total = len(photos) * len(_KINDS) * per_photo * len(Mode) * len(PlanKind)
    writer, results, perplexities, greedy = Writer(decoder, words), [], [], []
    prose_cases = cases(frames, gate, networks.__getitem__, tuple(Mode), SEED)
    for case in tqdm(prose_cases, total=total, desc="prose", unit="critique"):
        result, written = judge(case, writer)
        results.append(result)
        if case.kind is PlanKind.GATED:
            perplexities.append(likelihood(case, decoder, tokenizer).perplexity)
        if other is not None and written is not None:
            greedy.append(greedy_agreement(case, written, other, words))
    figures, faults = summarize(results), fault_figures(results)
    agreement = sum(same for same, _ in greedy) / sum(n for _, n in greedy) if greedy else None
    perplexity = float(np.exp(np.mean(np.log(perplexities))))
    if as_json:
        document = {
            "figures": {kind: f.model_dump() for kind, f in figures.items()},
            "faults": [f.model_dump(mode="json") for f in faults],
            "perplexity": perplexity,
            "greedy_agreement": agreement,
            "critiques": [r.model_dump(mode="json") for r in results],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        lines = [table(figures), "", f"perplexity of composed text: {perplexity:.3f}"]
        if agreement is not None:
            lines.append(f"greedy choices that agree with {against}: {agreement:.2%} of {sum(n for _, n in greedy)}")
        click.echo("\n".join(lines))
        if wrong := fault_table(faults):
            click.echo(f"\n{wrong}")
    if missed := missed_gates(figures, agreement):
        raise GateError("Prose gates missed: " + "; ".join(missed) + ". Train the decoder longer.")


@click.command("latent-steps")
@click.argument("teacher", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--student",
    "students",
    metavar="NAME=FOLDER",
    multiple=True,
    callback=_named_files,
    help="Folder of a student's pair, as `distill artist` writes it; repeatable.",
)
@click.option(
    "--euler-steps",
    "steps",
    type=click.IntRange(1, 64),
    multiple=True,
    default=(1, 2, 4, 8),
    show_default=True,
    help="Euler steps of the teacher beside its own; repeatable.",
)
@click.option("--int8", is_flag=True, help="Measure each student with its denoising network in static INT8 too.")
@data_option
@run_option
@click.option("--frames", type=click.IntRange(1), default=60, show_default=True, help="Degraded validation frames.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the frames, as `train` has it.")
@features_option
@brisque_option(default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def latent_steps(
    *,
    teacher: Path,
    students: dict[str, Path],
    steps: Sequence[int],
    int8: bool,
    data: Path,
    run: Path,
    frames: int,
    seed: int,
    features: bool,
    brisque: bool,
    threads: int,
    as_json: bool,
) -> None:
    r"""Measure what each step of a latent artist buys, and what its few-step students keep of it.

    Full precision in torch, at the artist's own size, reading what the critic itself says.

    \b
    Example:
      pocketcrafter bench latent-steps my-pair --student lcm=my-phone-pair --data data --run runs
    """
    import torch

    from pocketcrafter.benchmarks.common.machine import this_machine
    from pocketcrafter.benchmarks.latent_steps import (
        LatentStepsReport,
        contestants,
        latent_steps_text,
        measure_latent_steps,
    )
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.train.options import TrainOptions, stored_frames

    torch.set_num_threads(threads)
    store = stored_frames(TrainOptions(data, run, WEIGHTS, None, 1, seed, "cpu", None, as_json), Split.VALIDATION)
    extras = load_extras(run, features=features, brisque=brisque)
    opened, artists = contestants(teacher, steps, students, int8=int8)
    machine = this_machine()
    with tqdm(total=frames, desc="latent steps", unit="frame") as bar:
        rows = measure_latent_steps(opened, artists, store, frames, extras, bar.update)
    report = LatentStepsReport(machine=machine, threads=threads, frames=frames, rows=rows)
    click.echo(report.model_dump_json() if as_json else latent_steps_text(report))


@click.command("merge-memory")
@click.option("--blocks", type=click.IntRange(2), default=60, show_default=True, help="Of the transformer.")
@click.option(
    "--adapted", type=click.IntRange(1), default=6, show_default=True, help="Blocks that the adapter changes."
)
@json_option
def merge_memory(*, blocks: int, adapted: int, as_json: bool) -> None:
    r"""Measure what `teacher merge` takes for 40 GB.

    Qwen-Image's transformer of 20 billion parameters, all of them zeros that take no room on the disk; the merge is
    interrupted in the middle and taken up again. Exit code 1: it took more than 4 GiB of memory.

    \b
    Example:
      pocketcrafter bench merge-memory
    """
    from pocketcrafter.benchmarks.merge_memory import measure_merge, merge_memory_text

    row = measure_merge(blocks, adapted)
    click.echo(row.model_dump_json() if as_json else merge_memory_text(row))
    if row.peak_mib > row.bar_mib:
        raise GateError(f"Merging took {row.peak_mib:.0f} MiB; {row.bar_mib:.0f} are allowed.")


@click.command("label-likeness")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("labels", type=click.Path(exists=True, file_okay=False, path_type=Path))
@backend_option
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads to compute with.")
@json_option
def label_likeness(*, bundle: Path, labels: Path, backend: str, threads: int, as_json: bool) -> None:
    r"""Measure how near a pair comes to a teacher's pictures.

    LABELS is a folder that `data label` made, of photos that the pair was not taught with. Exit code 1: the photos as
    they are come nearer.

    \b
    Example:
      pocketcrafter data label --teacher my-pair --photos other-photos --out held-out
      pocketcrafter bench label-likeness taught.pcbundle held-out
    """
    from pocketcrafter.benchmarks.label_likeness import likeness_text, measure_likeness
    from pocketcrafter.export.labels.store import LabelStore
    from pocketcrafter.runtime.families import Pipeline

    store, pipeline = LabelStore.open(labels), Pipeline.open(bundle, backend=backend, threads=threads)
    with tqdm(desc="label likeness", unit="photo") as bar:
        found = measure_likeness(pipeline, store.labels(hidden=False), bar.update)
    click.echo(found.model_dump_json() if as_json else likeness_text(found))
    if found.kept < 0:
        raise GateError("The pair goes away from the teacher's pictures.")
