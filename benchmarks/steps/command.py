"""``pocketcrafter bench steps``."""

import hashlib
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
from pocketcrafter.runtime.cli.options import json_option

_POCKET = WEIGHTS / "restore.safetensors"


def _named_files(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE`` pairs."""
    found: dict[str, Path] = {}
    for value in values:
        name, _, file = value.partition("=")
        if not name or not file or name in found or name == AS_IT_IS:
            raise click.BadParameter(f"{value!r}: give NAME=FILE, each name once and none `{AS_IT_IS}`.", ctx, param)
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
    from pocketcrafter.benchmarks.steps.measure import (
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
