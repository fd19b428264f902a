"""The one training loop: AdamW, warm-up and cosine, clipping, EMA, and checkpoints that resume to the same step."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import torch
from pydantic import Field, PositiveInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pocketcrafter.export.train.workers import ALONE, Workers, placed_like
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.validation import check_json

_CHECKPOINT: Final = "checkpoint.safetensors"
_PARTS: Final = ("weight", "average", "first", "second")


class FitSettings(Config):
    """How long and how fast to train; a checkpoint of other settings is refused."""

    steps: PositiveInt = Field(description="Optimizer steps.")
    batch: PositiveInt = Field(description="Frames a step.")
    learning_rate: float = Field(gt=0, description="Peak learning rate of the fastest parameter group.")
    weight_decay: float = Field(0.02, ge=0)
    warmup: PositiveInt = Field(100, description="Steps of linear warm-up.")
    ema: float = Field(0.998, gt=0, lt=1, description="Decay of the exponential moving average of the weights.")
    seed: int = 0


class Task(Protocol):
    """A model and how it learns."""

    @property
    def model(self) -> nn.Module:
        """The network, on the device that it is trained on."""

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return (share of the learning rate, parameters) for what is trained."""

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a step's batch, which depends on seed and step alone, and its parts for the log."""


StepCallback = Callable[[int, Mapping[str, float]], None]


def fit(
    task: Task,
    settings: FitSettings,
    folder: Path,
    on_step: StepCallback = lambda _step, _parts: None,
    checkpoint_every: int = 200,
    workers: Workers = ALONE,
) -> nn.Module:
    """Train, or go on training, and return the model with its averaged weights, in evaluation mode.

    A `KeyboardInterrupt` leaves a checkpoint of the last whole step behind.

    Parameters
    ----------
    task
        What to train.
    settings
        How.
    folder
        Where the checkpoint is kept; an existing one is resumed.
    on_step
        Called with the number of steps done and the parts of the last loss.
    checkpoint_every
        Steps between checkpoints.
    workers
        Processes that train together: the first one writes checkpoints, which any number of them resume.

    Raises
    ------
    ConfigError
        If the folder holds a checkpoint of other settings, or a damaged one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = task.parameter_groups()
    optimizer = torch.optim.AdamW(
        [{"params": parameters, "share": share} for share, parameters in groups],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    names = {id(p): name for name, p in task.model.named_parameters()}
    trained = {names[id(p)]: p for _, parameters in groups for p in parameters}
    average = {name: p.detach().clone() for name, p in trained.items()}
    path = folder / _CHECKPOINT
    start = _restore(path, settings, trained, average, optimizer) if path.exists() else 0
    task.model.train()
    whole = start  # steps after which weights, averages and moments belong together
    try:
        with workers.interrupts() as stop_if_interrupted:
            for step in range(start, settings.steps):
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * group["share"] * _schedule(step, settings)
                # Dropout must not depend on where an interrupted training went on.
                torch.manual_seed(settings.seed + step)
                with _mixed_precision(next(iter(trained.values())).device):
                    loss, parts = task.loss(step)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                workers.average(trained.values())
                nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
                whole = -1
                optimizer.step()
                decay = min(settings.ema, (1 + step) / (10 + step))
                for name, parameter in trained.items():
                    average[name].lerp_(parameter.detach(), 1 - decay)
                whole = step + 1
                on_step(step + 1, workers.means(parts))
                if (step + 1) % checkpoint_every == 0 or step + 1 == settings.steps:
                    _save(path, settings, step + 1, trained, average, optimizer, workers)
                stop_if_interrupted()
    except KeyboardInterrupt:
        if whole > start:
            _save(path, settings, whole, trained, average, optimizer, workers)
        raise
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(average[name])
    return task.model.eval()


def _schedule(step: int, settings: FitSettings) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


@contextmanager
def _mixed_precision(device: torch.device) -> Iterator[None]:
    """bf16 autocast where the hardware multiplies bf16; elsewhere it would be emulated, and slower than float32."""
    enabled = (
        device.type != "cpu"
        or torch.backends.cpu.get_cpu_capability() == "AMX"
        or torch.cpu._is_avx512_bf16_supported()
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        yield


def _save(
    path: Path,
    settings: FitSettings,
    step: int,
    trained: Mapping[str, nn.Parameter],
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    workers: Workers,
) -> None:
    """Write a checkpoint; the first process does, and where weights are sharded all of them give their parts."""
    if workers.rank > 0 and not workers.sharded:
        return
    tensors = {}
    for name, parameter in trained.items():
        state = optimizer.state[parameter]
        values = (parameter.detach(), average[name], state["exp_avg"], state["exp_avg_sq"])
        for part, value in zip(_PARTS, values, strict=True):
            whole = workers.whole(value)
            if workers.rank == 0:
                tensors[f"{part}/{name}"] = whole.contiguous().cpu()
    if workers.rank > 0:
        return
    write_bytes(path, save(tensors, {"step": str(step), "settings": settings.model_dump_json()}))


def _restore(
    path: Path,
    settings: FitSettings,
    trained: Mapping[str, nn.Parameter],
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    try:
        with safe_open(path, "pt") as stored:
            metadata = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        written, step = metadata["settings"], int(metadata["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not a checkpoint ({error}); remove it to train from the start.") from error
    damaged = f"{path} is not a checkpoint; remove it to train from the start"
    if check_json(FitSettings, written, damaged) != settings:
        raise ConfigError(f"{path} was trained with other settings; remove it, or name another folder with --run.")
    if tensors.keys() != {f"{part}/{name}" for name in trained for part in _PARTS}:
        raise ConfigError(f"{path} is a checkpoint of another model; remove it, or name another folder with --run.")
    with torch.no_grad():
        for name, parameter in trained.items():
            weight, mean, first, second = (placed_like(tensors[f"{part}/{name}"], parameter) for part in _PARTS)
            parameter.copy_(weight)
            average[name].copy_(mean)
            optimizer.state[parameter] = {"step": torch.tensor(float(step)), "exp_avg": first, "exp_avg_sq": second}
    return step


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 plus a quarter of the L1 between gradients; pictures ``(B, C, H, W)``."""
    difference = output - target
    across = difference[..., 1:] - difference[..., :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return difference.abs().mean() + 0.25 * (across.abs().mean() + down.abs().mean())


def quantile_loss(said: Tensor, true: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Return the mean pinball loss of Q quantiles ``(…, Q)`` against values ``(…)`` (Koenker and Bassett, 1978)."""
    missed = true[..., None] - said.float()
    levels = said.new_tensor(quantiles)
    return torch.maximum(levels * missed, (levels - 1) * missed).mean()
