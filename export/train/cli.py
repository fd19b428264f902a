"""``pocketcrafter train``: the default pair's training on the command line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from pocketcrafter.export.data.manifest import Split, load_manifest
from pocketcrafter.export.models import load_component, save_component
from pocketcrafter.export.models.critic import Critic
from pocketcrafter.export.models.pretrained import imagenet_backbone
from pocketcrafter.export.train.critic import CriticTask
from pocketcrafter.export.train.evidence import EvidenceStore, build_store
from pocketcrafter.export.train.fit import FitSettings, Task, fit
from pocketcrafter.export.train.gating import tune_gate
from pocketcrafter.export.train.restore import RestoreTask
from pocketcrafter.export.train.tone import ToneTask, judge_store
from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.errors import ConfigError

WEIGHTS = Path(__file__).parents[1] / "weights"

_folder = click.Path(file_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--data", type=_folder, default=Path("data"), show_default=True, help="Made by `data prepare`."),
    click.option("--run", type=_folder, default=Path("runs"), show_default=True, help="Checkpoints and stored frames."),
    click.option("--weights", type=_folder, default=WEIGHTS, help="Where weights are read and written."),
    click.option("--steps", type=click.IntRange(1), help="Optimizer steps."),
    click.option("--frames", type=click.IntRange(64), default=10_000, show_default=True, help="Stored training frames."),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of frames, weights and batches."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--threads", type=click.IntRange(1), help="Torch threads; all cores when not given."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def train() -> None:
    r"""Train the default pair, in the order critic, tone, restore, gate; each resumes where it stopped.

    \b
    Example:
      pocketcrafter data prepare --out data
      pocketcrafter train critic --data data
    """


@train.command()
@_with_options
def critic(**options: Any) -> None:  # noqa: ANN401 - click hands over the options above
    """Train the critic on stored frames."""
    place = _Place(options)
    settings = FitSettings(steps=options["steps"] or 1600, batch=32, learning_rate=1.5e-3, seed=options["seed"])
    task = CriticTask(place.store(Split.TRAIN), imagenet_backbone(place.run), settings, place.device)
    place.train(Component.CRITIC, task, settings)


@train.command()
@_with_options
def tone(**options: Any) -> None:  # noqa: ANN401
    """Train the tone refinement on stored frames, with the trained critic."""
    place = _Place(options)
    settings = FitSettings(steps=options["steps"] or 1200, batch=16, learning_rate=1.5e-3, seed=options["seed"])
    store = place.store(Split.TRAIN)
    judged = judge_store(place.critic(), store, place.device)
    place.train(Component.TONE, ToneTask(store, judged, settings, place.device), settings)


@train.command()
@_with_options
def restore(**options: Any) -> None:  # noqa: ANN401
    """Train the restoration network on patches made on the fly."""
    place = _Place(options)
    settings = FitSettings(steps=options["steps"] or 4000, batch=16, learning_rate=1.5e-3, seed=options["seed"])
    task = RestoreTask(place.photos(Split.TRAIN), place.noise, settings, place.device)
    place.train(Component.RESTORE, task, settings)


@train.command()
@_with_options
def gate(**options: Any) -> None:  # noqa: ANN401
    """Tune the gate on validation photos."""
    place = _Place(options)
    store = place.store(Split.VALIDATION)
    settings, figures = tune_gate(judge_store(place.critic(), store, place.device), store)
    temporary = place.weights / "gate.tmp"
    temporary.write_text(settings.model_dump_json(indent=1) + "\n")
    temporary.replace(place.weights / "gate.json")
    click.echo(json.dumps(figures) if place.as_json else "\n".join(f"{k}: {v:.3f}" for k, v in figures.items()))


class _Place:
    """Folders, device and the steps that the commands share."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.data, self.run, self.weights = options["data"], options["run"], options["weights"]
        self.frames, self.seed, self.as_json = options["frames"], options["seed"], options["as_json"]
        if options["device"] == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch sees no CUDA device; use --device cpu.")
        use_cuda = options["device"] != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if use_cuda else "cpu")
        self.noise = self.data / "noiseprofiles.json"
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        torch.manual_seed(self.seed)

    def photos(self, split: Split) -> list[Path]:
        """Return the prepared photos of a split, in a fixed order."""
        return sorted(self.data / photo.file for photo in load_manifest(self.data).photos(split))

    def store(self, split: Split) -> EvidenceStore:
        """Build or open the stored frames of a split."""
        frames = self.frames if split is Split.TRAIN else 640
        with tqdm(total=frames, desc=f"{split.value} frames", unit="frame") as bar:
            return build_store(
                self.run / "evidence" / split.value,
                self.photos(split),
                self.noise,
                imagenet_backbone(self.run),
                frames,
                # Another seed for each split: frame i of one must not share its faults with frame i of the other.
                self.seed + (0 if split is Split.TRAIN else 1_000_003),
                bar.update,
            )

    def critic(self) -> Critic:
        """Load the trained critic."""
        model = load_component(Component.CRITIC, self.weights / "critic.safetensors")
        if not isinstance(model, Critic):
            raise TypeError(type(model))
        return model

    def train(self, component: Component, task: Task, settings: FitSettings) -> None:
        """Fit, and write the averaged weights."""
        parts: Mapping[str, float] = {}
        with tqdm(total=settings.steps, desc=component.value, unit="step") as bar:

            def on_step(step: int, losses: Mapping[str, float]) -> None:
                nonlocal parts
                parts = losses
                bar.update(step - bar.n)
                bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})

            model = fit(task, settings, self.run / component.value, on_step)
        path = self.weights / f"{component.value}.safetensors"
        save_component(model, path)
        result = {"weights": str(path), "steps": settings.steps, "last_loss": dict(parts)}
        click.echo(json.dumps(result) if self.as_json else f"{path}: {settings.steps} steps, last losses {dict(parts)}")
