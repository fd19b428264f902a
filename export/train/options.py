"""What the commands of ``train`` and ``distill`` share: options, photos, stored frames, and the run itself."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from tqdm import tqdm

from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import same_file
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pocketcrafter.export.data.manifest import PhotoRecord, Split
    from pocketcrafter.export.train.evidence import EvidenceStore
    from pocketcrafter.export.train.fit import FitSettings, Task
    from pocketcrafter.export.train.workers import Workers

STUDIO_CRITIC: Final = "studio-critic.safetensors"
STUDIO_RESTORE: Final = "studio-restore.safetensors"
ESTIMATOR: Final = "estimator.safetensors"
"""Where networks lie in the folder of runs that do not ship, or not by themselves."""
CRITIC_STEPS: Final = 3200
CRITIC_BATCH: Final = 128
TRAIN_FRAMES: Final = 30_000
_VALIDATION_FRAMES: Final = 2560
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

    def fit_settings(self, steps: int, batch: int) -> "FitSettings":
        """Return how to train; ``steps`` holds where the command line names none."""
        from pocketcrafter.export.train.fit import FitSettings

        return FitSettings(steps=self.steps or steps, batch=batch, learning_rate=1.5e-3, seed=self.seed)

    def torch_device(self) -> "torch.device":
        """Return the device to train on.

        Raises
        ------
        ConfigError
            If CUDA was asked for and there is none.
        """
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch sees no CUDA device; use --device cpu.")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")


_folder = click.Path(file_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.option("--data", type=_folder, default=Path("data"), show_default=True, help="Made by `data prepare`."),
    click.option("--run", type=_folder, default=Path("runs"), show_default=True, help="Checkpoints and stored frames."),
    click.option("--weights", type=_folder, default=WEIGHTS, help="Where weights are read and written."),
    click.option("--steps", type=click.IntRange(1), help="Optimizer steps."),
    click.option("--frames", type=click.IntRange(64), default=TRAIN_FRAMES, show_default=True, help="Stored frames."),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of frames, weights and batches."),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to train.",
    ),
    click.option("--threads", type=click.IntRange(1), help="Torch threads; all cores when not given."),
    json_option,
)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, as one object; those of its own come beside it."""
    # Click has checked each value's type by the time it hands them over.
    gather: Callable[..., TrainOptions] = TrainOptions

    @wraps(command)
    def run(**values: object) -> None:
        import torch

        options = gather(**{field.name: values.pop(field.name) for field in fields(TrainOptions)})
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        command(options, **values)

    decorated: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def photos_of(options: TrainOptions, split: "Split") -> list[Path]:
    """Return the prepared photos of a split, in a fixed order."""
    return [options.data / record.file for record in _records(options, split)]


def photographers_of(options: TrainOptions, split: "Split") -> list[str]:
    """Return who took each of `photos_of`; who is unknown is named by the source."""
    return [r.author if r.author != "unknown" else r.source for r in _records(options, split)]


def sources_of(options: TrainOptions, split: "Split") -> list[str]:
    """Return where each of `photos_of` is from."""
    return [record.source for record in _records(options, split)]


def _records(options: TrainOptions, split: "Split") -> "list[PhotoRecord]":
    from pocketcrafter.export.data.manifest import load_manifest

    return sorted(load_manifest(options.data).photos(split), key=lambda record: options.data / record.file)


def stored_frames(options: TrainOptions, split: "Split") -> "EvidenceStore":
    """Build or open the stored frames of a split, with the fixed part of a critic's evidence."""
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.models.pretrained import imagenet_backbone
    from pocketcrafter.export.train.evidence import build_store

    training = split is Split.TRAIN
    frames = options.frames if training else _VALIDATION_FRAMES
    with tqdm(total=frames, desc=f"{split.value} frames", unit="frame") as bar:
        return build_store(
            evidence_folder(options, split),
            photos_of(options, split),
            options.data,
            imagenet_backbone(options.run),
            frames,
            options.seed if training else options.seed + _VALIDATION_SEED_OFFSET,
            bar.update,
        )


def evidence_folder(options: TrainOptions, split: "Split") -> Path:
    """Return where the stored frames of a split lie."""
    return options.run / "evidence" / split.value


def folder_beside(out: Path, *sources: Path) -> Path:
    """Return the folder of results as an absolute path.

    Parameters
    ----------
    out
        Where results go.
    sources
        Folders that they are made of, which must stay as they are.

    Raises
    ------
    ConfigError
        If ``out`` is one of ``sources``.
    """
    if any(same_file(out, source) for source in sources):
        raise ConfigError(f"--out: {out} is what training begins with, or learns of; name another folder.")
    return out.resolve()


def train_network(
    name: str,
    task: "Task",
    settings: "FitSettings",
    folder: Path,
    workers: "Workers | None" = None,
    checkpoint_every: int = 200,
) -> "tuple[nn.Module, Mapping[str, float]]":
    """Fit with a progress bar; return the averaged model and the last loss by part, empty where nothing was left.

    Parameters
    ----------
    name
        Shown before the bar.
    task
        What is trained.
    settings
        Steps, batch, learning rate, seed.
    folder
        Keeps checkpoints, from which an interrupted training goes on.
    workers
        Processes that train together; this one alone when `None`.
    checkpoint_every
        Steps between checkpoints.
    """
    from pocketcrafter.export.train.fit import fit
    from pocketcrafter.export.train.workers import ALONE

    workers = workers or ALONE

    last_losses: Mapping[str, float] = {}
    with tqdm(total=settings.steps, desc=name, unit="step", disable=workers.rank > 0) as bar:

        def on_step(step: int, losses: Mapping[str, float]) -> None:
            nonlocal last_losses
            last_losses = losses
            if bar.n == 0:
                # Steps of an earlier session say nothing about the speed of this one.
                bar.initial = bar.n = step - 1
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})

        model = fit(task, settings, folder, on_step, checkpoint_every, workers)
    return model, last_losses


def train_and_save(
    component: str,
    task: "Task",
    settings: "FitSettings",
    options: TrainOptions,
    *,
    folder: Path | None = None,
    weights: Path | None = None,
    convert: "Callable[[nn.Module], nn.Module]" = lambda model: model,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Fit, write the averaged weights as the component that is lowered, and say where.

    Parameters
    ----------
    component
        Its name.
    task
        What is trained.
    settings
        Steps, batch, learning rate, seed.
    options
        The command line's.
    folder
        Keeps checkpoints; in the folder of runs when `None`.
    weights
        Where to; the component's own file when `None`.
    convert
        Makes of the trained module what is saved.
    facts
        Metadata of the file.
    """
    from pocketcrafter.export.models import save_component

    model, losses = train_network(component, task, settings, folder or options.run / component)
    path = weights or options.weights / f"{component}.safetensors"
    save_component(convert(model), path, facts)
    tell(path, settings.steps, losses, as_json=options.as_json)


def tell(path: Path, steps: int, losses: Mapping[str, float], *, as_json: bool) -> None:
    """Say what was written.

    Parameters
    ----------
    path
        What was written.
    steps
        Optimizer steps.
    losses
        The last ones, by name.
    as_json
        Whether to print JSON.
    """
    if as_json:
        click.echo(json.dumps({"weights": str(path), "steps": steps, "last_loss": dict(losses)}))
    else:
        said = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        click.echo(f"{path}: {counted(steps, 'step')}" + (f"; last loss: {said}" if said else ""))
