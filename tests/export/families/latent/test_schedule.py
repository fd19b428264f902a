"""Schedulers of diffusers as factors: the same latents as their own steps make."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pocketcrafter.export.families.latent.schedule import Schedule  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.runtime.latent.sampler import Noise, denoise  # noqa: E402

SHAPE = (1, 4, 8, 8)
KINDS = {
    "FlowMatchEulerDiscreteScheduler": {"shift": 3.0},
    "EulerDiscreteScheduler": {},
    "DDIMScheduler": {"clip_sample": False},
    "LCMScheduler": {},
}


def _predicted(latents: Any, time: float) -> Any:
    """Stand in for a network: something of both inputs that is not linear."""
    return latents * 0.3 + abs(latents) * 0.1 - 0.2 * (time / 1000)


def _saved(kind: str, folder: Path, **options: Any) -> Any:
    scheduler = getattr(importlib.import_module("diffusers"), kind)(**options)
    scheduler.save_pretrained(folder)
    return scheduler


@pytest.mark.parametrize("strength", [None, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_the_scheduler(
    kind: str, strength: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = _saved(kind, tmp_path, **KINDS[kind])
    schedule = Schedule(kind, str(tmp_path), 4, 16)
    first, start_noise, start_picture = schedule.start(strength)
    picture = np.random.default_rng(1).standard_normal(SHAPE, np.float32)
    ours, theirs = Noise(5), Noise(5)
    start = ours.draw(SHAPE) * np.float32(start_noise) + picture * np.float32(start_picture)
    made = denoise(start, schedule.steps(first), _predicted, ours)

    drawn = torch.from_numpy(theirs.draw(SHAPE))
    module = importlib.import_module(type(scheduler).__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: torch.from_numpy(theirs.draw(SHAPE)), raising=False)
    scheduler.set_timesteps(4)
    times = scheduler.timesteps if strength is None else scheduler.timesteps[2:]
    if strength is None:
        latents = drawn * getattr(scheduler, "init_noise_sigma", 1.0)
    elif hasattr(scheduler, "scale_noise"):
        latents = scheduler.scale_noise(torch.from_numpy(picture), times[:1], drawn)
    else:
        latents = scheduler.add_noise(torch.from_numpy(picture), drawn, times[:1])
    for time in times:
        given = scheduler.scale_model_input(latents, time) if hasattr(scheduler, "scale_model_input") else latents
        latents = scheduler.step(_predicted(given, float(time)), time, latents).prev_sample
    np.testing.assert_allclose(made, latents.numpy(), rtol=2e-4, atol=2e-4)


def test_a_scheduler_that_clips_is_refused(tmp_path: Path) -> None:
    _saved("DDIMScheduler", tmp_path, clip_sample=True)
    with pytest.raises(CheckpointError, match="not linear in latents and prediction; turn clip_sample"):
        Schedule("DDIMScheduler", str(tmp_path), 4, 16).steps(0)
