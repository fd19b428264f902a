"""``pocketcrafter bench prose``."""

import json
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

_BACKENDS = click.Choice([name.value for name in BackendName])
_KINDS = (FrameKind.DEGRADED, FrameKind.CLEAN)


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
    from pocketcrafter.benchmarks.prose.measure import (
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
