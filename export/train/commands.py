"""The commands of ``pocketcrafter train``: the default pair's training on the command line."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Final

import click
import torch
from tokenizers import Tokenizer
from torch import nn
from tqdm import tqdm

from pocketcrafter.export.data.manifest import Split, load_manifest
from pocketcrafter.export.models import load_component, restore_network, save_component
from pocketcrafter.export.models.critic import Critic
from pocketcrafter.export.models.pretrained import imagenet_backbone
from pocketcrafter.export.models.restore import POCKET, STUDIO, Restore, widened
from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER, TOKENIZER_SHA256
from pocketcrafter.export.train.composition import CompositionTask
from pocketcrafter.export.train.composition_frames import GROUP, build_frames
from pocketcrafter.export.train.critic import CriticTask
from pocketcrafter.export.train.decoder import DecoderTask, as_step
from pocketcrafter.export.train.evidence import EvidenceStore, build_store
from pocketcrafter.export.train.fit import FitSettings, Task, fit
from pocketcrafter.export.train.gating import TRIALS, tune_gate
from pocketcrafter.export.train.prose.facts import measure_facts
from pocketcrafter.export.train.prose.sampling import Judged
from pocketcrafter.export.train.prose.vocabulary import build_tokenizer
from pocketcrafter.export.train.restore import Patches, RestoreTask
from pocketcrafter.export.train.tone import ToneTask, judge_store
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.errors import ConfigError

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
STUDIO_RESTORE: Final = "studio-restore.safetensors"
"""Where the studio's restoration network lies in the folder of runs; it does not ship."""
_VALIDATION_FRAMES: Final = 640
_VALIDATION_SEED_OFFSET: Final = 1_000_003
"""Another seed for each split: frame i of one must not share its faults with frame i of the other."""


@dataclass(frozen=True)
class TrainOptions:
    """What the commands are told; each field is the option of its name."""

    data: Path
    run: Path
    weights: Path
    steps: int | None
    frames: int
    seed: int
    device: str
    threads: int | None
    as_json: bool

    def fit_settings(self, steps: int, batch: int) -> FitSettings:
        """Return how to train; ``steps`` holds where the command line names none."""
        return FitSettings(steps=self.steps or steps, batch=batch, learning_rate=1.5e-3, seed=self.seed)

    def torch_device(self) -> torch.device:
        """Return the device to train on.

        Raises
        ------
        ConfigError
            If CUDA was asked for and there is none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch sees no CUDA device; use --device cpu.")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")


_folder = click.Path(file_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.option("--data", type=_folder, default=Path("data"), show_default=True, help="Made by `data prepare`."),
    click.option("--run", type=_folder, default=Path("runs"), show_default=True, help="Checkpoints and stored frames."),
    click.option("--weights", type=_folder, default=WEIGHTS, help="Where weights are read and written."),
    click.option("--steps", type=click.IntRange(1), help="Optimizer steps."),
    click.option("--frames", type=click.IntRange(64), default=10_000, show_default=True, help="Stored frames."),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of frames, weights and batches."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--threads", type=click.IntRange(1), help="Torch threads; all cores when not given."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, as one object; those of its own come beside it."""
    # Click has checked each value's type by the time it hands them over.
    gather: Callable[..., TrainOptions] = TrainOptions

    @wraps(command)
    def run(**values: object) -> None:
        options = gather(**{field.name: values.pop(field.name) for field in fields(TrainOptions)})
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        command(options, **values)

    decorated: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@click.command(epilog="Example: pocketcrafter train critic --data data --run runs")
@_with_options
def critic(options: TrainOptions) -> None:
    """Train the critic on stored frames."""
    settings, device = options.fit_settings(steps=1600, batch=32), options.torch_device()
    store = _store(options, Split.TRAIN)
    task = CriticTask(store, imagenet_backbone(options.run), settings, device)
    _train(Component.CRITIC, task, settings, options)


@click.command(epilog="Example: pocketcrafter train tone --data data --run runs")
@_with_options
def tone(options: TrainOptions) -> None:
    """Train the tone refinement on stored frames, with the trained critic."""
    settings, device = options.fit_settings(steps=1200, batch=16), options.torch_device()
    trained_critic = _trained_critic(options)
    store = _store(options, Split.TRAIN)
    judged = judge_store(trained_critic, store, device)
    _train(Component.TONE, ToneTask(store, judged, settings, device), settings, options)


@click.command(epilog="Example: pocketcrafter train restore --data data --device cuda")
@click.option("--studio", is_flag=True, help="Train the studio's larger network, the teacher of `distill artist`.")
@click.option("--start", type=click.Path(path_type=Path), help="Weights of a network of this size or smaller.")
@_with_options
def restore(options: TrainOptions, *, studio: bool, start: Path | None) -> None:
    """Train the restoration network on patches made on the fly."""
    settings, device = options.fit_settings(steps=4000, batch=16), options.torch_device()
    config = STUDIO if studio else POCKET
    model = widened(restore_network(start), config) if start is not None else Restore(config)
    task = RestoreTask(model, Patches(_photos(options, Split.TRAIN), options.data), settings, device)
    folder = options.run / (f"studio-{Component.RESTORE}" if studio else Component.RESTORE)
    weights = options.run / STUDIO_RESTORE if studio else None
    _train(Component.RESTORE, task, settings, options, folder=folder, weights=weights)


@click.command(epilog="Example: pocketcrafter train decoder --data data --threads 1")
@_with_options
def decoder(options: TrainOptions) -> None:
    """Train the decoder, which writes the critic's prose, on stored frames with the trained critic."""
    settings = options.fit_settings(steps=2400, batch=8).model_copy(update={"learning_rate": 3e-3})
    device, trained_critic = options.torch_device(), _trained_critic(options)
    store = _store(options, Split.TRAIN)
    judged = Judged.of(judge_store(trained_critic, store, device), store.plans, measure_facts(store.views))
    words = options.weights / TOKENIZER
    if not words.exists():
        build_tokenizer(words)
    facts = {CRITIC_SHA256: sha256_of(options.weights / "critic.safetensors"), TOKENIZER_SHA256: sha256_of(words)}
    task = DecoderTask(judged, Tokenizer.from_file(str(words)), settings, device)
    # Named by what it is trained on: a checkpoint over another critic's tokens must not be resumed.
    folder = options.run / f"decoder-{facts[CRITIC_SHA256][:8]}-{facts[TOKENIZER_SHA256][:8]}"
    _train(Component.DECODER, task, settings, options, folder=folder, convert=as_step, facts=facts)


@click.command(epilog="Example: pocketcrafter train composition --data data --run runs")
@_with_options
def composition(options: TrainOptions) -> None:
    """Train the composition network on stored tilted and shifted crops."""
    settings, device = options.fit_settings(steps=800, batch=32), options.torch_device()
    backbone = imagenet_backbone(options.run)
    groups = options.frames // GROUP
    with tqdm(total=groups * GROUP, desc="frames", unit="frame") as bar:
        folder = options.run / "composition_frames" / Split.TRAIN.value
        frames = build_frames(folder, _photos(options, Split.TRAIN), backbone, groups, options.seed, bar.update)
    _train(Component.COMPOSITION, CompositionTask(frames, backbone, settings, device), settings, options)


@click.command(epilog="Example: pocketcrafter train gate --data data --run runs")
@_with_options
def gate(options: TrainOptions) -> None:
    """Tune the gate on validation photos, with the trained critic."""
    device, trained_critic = options.torch_device(), _trained_critic(options)
    store = _store(options, Split.VALIDATION)
    judged = judge_store(trained_critic, store, device)
    with tqdm(total=TRIALS, desc="gate", unit="trial") as bar:
        settings, figures = tune_gate(judged, store, bar.update)
    temporary = options.weights / "gate.tmp"
    temporary.write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
    temporary.replace(options.weights / "gate.json")
    click.echo(json.dumps(figures) if options.as_json else "\n".join(f"{k}: {v:.3f}" for k, v in figures.items()))


def _noise_profiles(options: TrainOptions) -> Path:
    return options.data / "noiseprofiles.json"


def _photos(options: TrainOptions, split: Split) -> list[Path]:
    """Return the prepared photos of a split, in a fixed order."""
    return sorted(options.data / photo.file for photo in load_manifest(options.data).photos(split))


def _store(options: TrainOptions, split: Split) -> EvidenceStore:
    """Build or open the stored frames of a split."""
    training = split is Split.TRAIN
    frames = options.frames if training else _VALIDATION_FRAMES
    with tqdm(total=frames, desc=f"{split.value} frames", unit="frame") as bar:
        return build_store(
            options.run / "evidence" / split.value,
            _photos(options, split),
            _noise_profiles(options),
            imagenet_backbone(options.run),
            frames,
            options.seed if training else options.seed + _VALIDATION_SEED_OFFSET,
            bar.update,
        )


def _trained_critic(options: TrainOptions) -> Critic:
    model = load_component(Component.CRITIC, options.weights / "critic.safetensors")
    if not isinstance(model, Critic):
        raise TypeError(type(model))
    return model


def _train(
    component: Component,
    task: Task,
    settings: FitSettings,
    options: TrainOptions,
    *,
    folder: Path | None = None,
    weights: Path | None = None,
    convert: Callable[[nn.Module], nn.Module] = lambda model: model,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Fit, write the averaged weights as the component that is lowered, and say where."""
    last_losses: Mapping[str, float] = {}
    with tqdm(total=settings.steps, desc=component.value, unit="step") as bar:

        def on_step(step: int, losses: Mapping[str, float]) -> None:
            nonlocal last_losses
            last_losses = losses
            if bar.n == 0:
                # Steps of an earlier session say nothing about the speed of this one.
                bar.initial = bar.n = step - 1
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})

        model = fit(task, settings, folder or options.run / component.value, on_step)
    path = weights or options.weights / f"{component.value}.safetensors"
    save_component(convert(model), path, facts)
    if options.as_json:
        click.echo(json.dumps({"weights": str(path), "steps": settings.steps, "last_loss": dict(last_losses)}))
    else:
        losses = ", ".join(f"{name} {value:.4f}" for name, value in last_losses.items())
        click.echo(f"{path}: {settings.steps} steps" + (f"; last loss: {losses}" if losses else ""))
