"""The commands of ``pocketcrafter train``: the default pair's training on the command line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from tqdm import tqdm

from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER, TOKENIZER_SHA256
from pocketcrafter.export.train.options import (
    CRITIC_BATCH,
    CRITIC_STEPS,
    ESTIMATOR,
    STUDIO_CRITIC,
    STUDIO_RESTORE,
    TrainOptions,
    photos_of,
    sources_of,
    stored_frames,
    tell,
    train_and_save,
    train_network,
    with_options,
)
from pocketcrafter.runtime.cli.options import OutputFile
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from torch import nn

    from pocketcrafter.export.models.critic import Judge

_GATE_FRAMES: Final = 4
"""Frames of each photo and kind that the gate is tuned on."""

_start = click.option(
    "--start",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Weights to go on from; a restoration network's may be smaller.",
)


@click.command(epilog="Example: pocketcrafter train estimator --data data --run runs")
@with_options
def estimator(options: TrainOptions) -> None:
    """Train what the critic reads beside statistics: a backbone that estimates tonal amounts, end to end."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.pretrained import imagenet_backbone
    from pocketcrafter.export.train.estimator import (
        ESTIMATOR_STEPS,
        EstimatorTask,
        SmallFrames,
        estimator_settings,
        new_estimator,
    )

    settings = estimator_settings(options.steps or ESTIMATOR_STEPS, options.seed)
    frames, backbone = SmallFrames(photos_of(options, Split.TRAIN), options.data), imagenet_backbone(options.run)
    task = EstimatorTask(new_estimator(backbone), frames, settings, options.torch_device())
    train_and_save("estimator", task, settings, options, weights=options.run / ESTIMATOR)


@click.command(epilog="Example: pocketcrafter train critic --data data --run runs")
@click.option("--studio", is_flag=True, help="Train the studio's ensemble, the teacher of `distill critic`.")
@with_options
def critic(options: TrainOptions, *, studio: bool) -> None:
    """Train the critic's judgement on stored frames."""
    from torch import nn

    from pocketcrafter.export.models import estimator_network, save_component
    from pocketcrafter.export.models.critic import POCKET as POCKET_CRITIC
    from pocketcrafter.export.models.critic import STUDIO as STUDIO_CRITIC_SIZE
    from pocketcrafter.export.models.critic import Critic, Ensemble
    from pocketcrafter.export.models.pretrained import imagenet_backbone
    from pocketcrafter.export.train.critic import CriticTask
    from pocketcrafter.export.train.estimates import unseen_frames
    from pocketcrafter.runtime.pocket import Pocket

    settings, device = options.fit_settings(CRITIC_STEPS, CRITIC_BATCH), options.torch_device()
    model = Critic(STUDIO_CRITIC_SIZE if studio else POCKET_CRITIC)
    model.evidence.estimator = estimator_network(options.run / ESTIMATOR)
    model.evidence.backbone.take(imagenet_backbone(options.run))
    store = unseen_frames(options)
    judges = model.judge.judges if isinstance(model.judge, Ensemble) else nn.ModuleList([model.judge])
    for number, judge in enumerate(judges):
        # Judges of an ensemble see other batches.
        own = settings.model_copy(update={"seed": settings.seed + number})
        name = f"studio-critic-{number}" if studio else Pocket.CRITIC.value
        _, losses = train_network(name, CriticTask(_judge(judge), store, own, device), own, options.run / name)
    path = options.run / STUDIO_CRITIC if studio else options.weights / "critic.safetensors"
    save_component(model, path)
    tell(path, settings.steps, losses, as_json=options.as_json)


@click.command(epilog="Example: pocketcrafter train tone --data data --run runs")
@_start
@with_options
def tone(options: TrainOptions, *, start: Path | None) -> None:
    """Train the tone refinement on stored frames, with the trained critic."""
    from pocketcrafter.export.models import load_component
    from pocketcrafter.export.models.tone import Tone
    from pocketcrafter.export.train.estimates import judged_frames
    from pocketcrafter.export.train.tone import ToneTask
    from pocketcrafter.runtime.pocket import Pocket

    settings, device = options.fit_settings(steps=1200, batch=16), options.torch_device()
    store, judged = judged_frames(options)
    model = load_component(Pocket.TONE, start).requires_grad_(requires_grad=True) if start is not None else Tone()
    train_and_save(Pocket.TONE, ToneTask(model, store, judged, settings, device), settings, options)


@click.command(epilog="Example: pocketcrafter train restore --data data --device cuda")
@click.option("--studio", is_flag=True, help="Train the studio's larger network, the teacher of `distill artist`.")
@_start
@with_options
def restore(options: TrainOptions, *, studio: bool, start: Path | None) -> None:
    """Train the restoration network on patches made on the fly."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models import restore_network
    from pocketcrafter.export.models.restore import POCKET, STUDIO, Restore, widened
    from pocketcrafter.export.train.restore import Patches, RestoreTask
    from pocketcrafter.runtime.pocket import Pocket

    settings, device = options.fit_settings(steps=26000, batch=16), options.torch_device()
    config = STUDIO if studio else POCKET
    model = widened(restore_network(start), config) if start is not None else Restore(config)
    task = RestoreTask(model, Patches(photos_of(options, Split.TRAIN), options.data), settings, device)
    folder = options.run / (f"studio-{Pocket.RESTORE}" if studio else Pocket.RESTORE)
    weights = options.run / STUDIO_RESTORE if studio else None
    train_and_save(Pocket.RESTORE, task, settings, options, folder=folder, weights=weights)


@click.command(epilog="Example: pocketcrafter train decoder --data data --threads 1")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=3e-3,
    show_default=True,
    help="Learning; less with --start.",
)
@_start
@with_options
def decoder(options: TrainOptions, *, rate: float, start: Path | None) -> None:
    """Train the decoder, which writes the critic's prose, on stored frames with the trained critic."""
    from tokenizers import Tokenizer

    from pocketcrafter.export.models import decoder_network
    from pocketcrafter.export.models.llama import ProseLlama, as_llama
    from pocketcrafter.export.train.decoder import DecoderTask, as_step, build_tokenizer
    from pocketcrafter.export.train.estimates import judged_frames
    from pocketcrafter.export.train.prose.facts import measure_facts
    from pocketcrafter.export.train.prose.sampling import Judged
    from pocketcrafter.runtime.bundle.integrity import sha256_of
    from pocketcrafter.runtime.pocket import Pocket

    settings = options.fit_settings(steps=2400, batch=8).model_copy(update={"learning_rate": rate})
    device, (store, judgement) = options.torch_device(), judged_frames(options)
    judged = Judged.of(judgement, store.plans, measure_facts(store.views))
    words = options.weights / TOKENIZER
    if not words.exists():
        build_tokenizer(words)
    facts = {CRITIC_SHA256: sha256_of(options.weights / "critic.safetensors"), TOKENIZER_SHA256: sha256_of(words)}
    model = as_llama(decoder_network(start)) if start is not None else ProseLlama()
    task = DecoderTask(model, judged, Tokenizer.from_file(str(words)), settings, device)
    # Named by what it is trained on: a checkpoint over another critic's tokens must not be resumed.
    origin = () if start is None else (sha256_of(start),)
    name = "-".join(["decoder", *(digest[:8] for digest in (*facts.values(), *origin))])
    folder = options.run / name
    train_and_save(Pocket.DECODER, task, settings, options, folder=folder, convert=as_step, facts=facts)


@click.command(epilog="Example: pocketcrafter train composition --data data --run runs")
@_start
@with_options
def composition(options: TrainOptions, *, start: Path | None) -> None:
    """Train the composition network end to end, on tilted and shifted crops that are drawn anew at every step."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models import load_component
    from pocketcrafter.export.models.composition import Composition
    from pocketcrafter.export.models.pretrained import imagenet_backbone
    from pocketcrafter.export.train.composition import (
        COMPOSITION_STEPS,
        CompositionFrames,
        CompositionTask,
        composition_settings,
        learn_how_sure,
    )
    from pocketcrafter.export.train.options import photographers_of
    from pocketcrafter.runtime.pocket import Pocket

    frames = CompositionFrames(photos_of(options, Split.TRAIN), photographers_of(options, Split.TRAIN))
    backbone, device, model = imagenet_backbone(options.run), options.torch_device(), Composition()
    model.backbone.take(backbone)
    if start is not None:
        model.load_state_dict(load_component(Pocket.COMPOSITION, start).state_dict())
    settings = composition_settings(options.steps or COMPOSITION_STEPS, options.seed)
    task = CompositionTask(model, frames, backbone, settings, device)
    train_and_save(Pocket.COMPOSITION, task, settings, options, convert=lambda _model: learn_how_sure(task))


@click.command(epilog="Example: pocketcrafter train gate --data data --run runs")
@click.option("--restoration", is_flag=True, help="Noise, blur and JPEG alone; the rest of the gate stays.")
@with_options
def gate(options: TrainOptions, *, restoration: bool) -> None:
    """Tune the gate on validation photos, and on training photos that are judged by critics that never saw them."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models import critic_network
    from pocketcrafter.export.train.critic import judge_store
    from pocketcrafter.export.train.estimates import critic_frames, unseen_frames
    from pocketcrafter.export.train.gate_frames import JudgedFrames, balanced_rows
    from pocketcrafter.export.train.gate_tuning import TRIALS, tune_gate, tune_restoration
    from pocketcrafter.export.train.judge_inputs import unseen_judgement
    from pocketcrafter.runtime.attribute_gate import read_gate
    from pocketcrafter.runtime.files import write_text

    trained = critic_network(options.weights / "critic.safetensors")
    path = options.weights / "gate.json"
    had = read_gate(path) if restoration else None
    validation, store = critic_frames(options, Split.VALIDATION, trained.evidence), unseen_frames(options)
    cross = unseen_judgement(options, store, judge_store(trained.judge, store).tokens)
    frames = JudgedFrames.of(
        validation,
        judge_store(trained.judge, validation),
        sources_of(options, Split.VALIDATION),
        balanced_rows(validation, _GATE_FRAMES),
    ).joined(JudgedFrames.of(store, cross, sources_of(options, Split.TRAIN), balanced_rows(store, _GATE_FRAMES)))
    if had is not None:
        chosen = tune_restoration(frames)
        tuned = had.model_copy(update={"attributes": {**had.attributes, **chosen}})
        said = {f"{attribute}_presence": gate.presence for attribute, gate in chosen.items()}
    else:
        with tqdm(total=TRIALS, desc="gate", unit="trial") as bar:
            tuned, figures = tune_gate(frames, bar.update)
        said = {"delta_e_change": figures.delta_e_change, "psnr_gain_db": figures.psnr_gain_db} | {
            f"{kind.name.lower()}_harmed": share for kind, share in figures.harmed.items()
        }
    write_text(path, tuned.model_dump_json(indent=1) + "\n")
    click.echo(json.dumps(said) if options.as_json else "\n".join(f"{k}: {v:.3f}" for k, v in said.items()))


@click.command(epilog="Example: pocketcrafter train judge --data data --run runs")
@_start
@with_options
def judge(options: TrainOptions, *, start: Path | None) -> None:
    """Train the judge of finished proposals, and choose its bar.

    It learns from proposals for training photos as bad as those for a user's will be: siblings of the critic, trained
    first, make them for photographers that they never saw. Its bar is the boldest of those that keep harm within the
    aims in every kind and source of validation frames; with its proposals it goes into the gate.
    `bench risk-coverage` measures it.
    """
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models import critic_network, load_component, save_component
    from pocketcrafter.export.models.plan_judge import PlanJudge
    from pocketcrafter.export.train.judge import JudgeTask, draw_shares, judge_proposals
    from pocketcrafter.export.train.judge_inputs import proposed_frames
    from pocketcrafter.export.train.plan_proposals import SHIPPED, WORTH
    from pocketcrafter.export.train.risk import boldest_allowed, judge_curve
    from pocketcrafter.runtime.attribute_gate import read_gate
    from pocketcrafter.runtime.files import write_text
    from pocketcrafter.runtime.plan_judge import JudgeSettings
    from pocketcrafter.runtime.pocket import Pocket

    # Both are read again later, after hours: what is missing is told now.
    critic_network(options.weights / "critic.safetensors")
    gate_file = options.weights / "gate.json"
    gate = read_gate(gate_file)
    settings, device = options.fit_settings(steps=2400, batch=96), options.torch_device()
    proposed, held = proposed_frames(options, Split.TRAIN), proposed_frames(options, Split.VALIDATION)
    network = PlanJudge()
    if start is not None:
        network.load_state_dict(load_component(Pocket.JUDGE, start).state_dict())
    task = JudgeTask(network, proposed.judged, draw_shares(proposed.frames()), settings, device)
    # Named by its critic: a checkpoint over another one's proposals must not be resumed.
    folder = options.run / f"judge-{proposed.critic_sha256[:8]}-{settings.seed}"
    model, losses = train_network(Pocket.JUDGE, task, settings, folder)
    path = options.weights / f"{Pocket.JUDGE}.safetensors"
    save_component(model, path, {CRITIC_SHA256: proposed.critic_sha256})
    gains, likeness = held.outcomes()
    best = boldest_allowed(
        judge_curve(Pocket.JUDGE, held.frames(), judge_proposals(model, held.judged), gains, likeness)
    )
    if best is None:
        raise GateError(f"{path}: harms some kind and source of validation frames at every bar; {gate_file} stays.")
    chosen = gate.model_copy(update={"judge": JudgeSettings(proposals=SHIPPED, bar=best.bar, worth=WORTH)})
    write_text(gate_file, chosen.model_dump_json(indent=1) + "\n")
    figures = {"bar": best.bar, "delta_e_change": best.delta_e_change, "worse": best.worse}
    tell(path, settings.steps, {**losses, **figures}, as_json=options.as_json)


@click.command(
    "learning-curve", epilog="Example: pocketcrafter train learning-curve --data data --out runs/learning.jsonl"
)
@click.option("--parts", type=click.IntRange(2, 8), default=3, show_default=True, help="Sizes: all, a half, a quarter…")
@click.option("--repeats", type=click.IntRange(1, 16), default=2, show_default=True, help="Trainings of each size.")
@click.option("--out", type=OutputFile(".jsonl"), required=True, help="JSON lines, added to.")
@with_options
def learning_curve(options: TrainOptions, *, parts: int, repeats: int, out: Path) -> None:
    """Train critics on parts of the photos and frames; `bench learning-curve` draws what comes of it."""
    import numpy as np

    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.estimator import ESTIMATES
    from pocketcrafter.export.train.learning import learning_sizes, read_points, rows_of, train_point, write_points

    # The estimator has seen all the photos: what it says would make few of them look like many.
    store, validation = (
        frames.with_estimates(np.zeros((len(frames), ESTIMATES), np.float32))
        for frames in (stored_frames(options, split) for split in (Split.TRAIN, Split.VALIDATION))
    )
    settings = options.fit_settings(CRITIC_STEPS // 2, CRITIC_BATCH)
    points = read_points(out) if out.exists() else []
    done = {(point.photos, point.frames, point.seed) for point in points}
    seeds = range(settings.seed, settings.seed + repeats)
    sizes = [
        ((photos, len(rows_of(store, photos, frames, seed))), seed)
        for seed in seeds
        for photos, frames in learning_sizes(store, parts)
    ]
    left = [(size, seed) for size, seed in sizes if (*size, seed) not in done]
    with tqdm(total=len(left) * settings.steps, desc="learning curve", unit="step") as bar:
        for size, seed in left:
            own = settings.model_copy(update={"seed": seed})
            folder = options.run / "learning" / f"{size[0]}-{size[1]}-{seed}"
            points.append(train_point(store, validation, size, own, folder, bar.update))
            write_points(out, points)
    click.echo(json.dumps([p.model_dump() for p in points]) if options.as_json else f"{out}: {len(points)} trainings")


def _judge(module: "nn.Module") -> "Judge":
    from pocketcrafter.export.models.critic import Judge

    if not isinstance(module, Judge):
        raise TypeError(type(module))
    return module
