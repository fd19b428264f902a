"""Turns a scheduler of diffusers into factors for each step, by asking the scheduler itself."""

import copy
import importlib
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.latent.settings import StepSettings

_SHAPE: Final = (1, 1, 4, 4)
_LARGE: Final = 30.0
"""Latents far beyond where schedulers clip, so that clipping shows as what is not linear."""
_TOLERANCE: Final = 1e-4


class Schedule:
    """A scheduler at a number of steps.

    Parameters
    ----------
    kind
        Class of diffusers.
    folder
        Its configuration's.
    steps
        How many.
    positions
        Positions of the latents, 2×2 values each: what dynamic shifting depends on.
    """

    def __init__(self, kind: str, folder: str, steps: int, positions: int) -> None:
        self._kind = kind
        self._scheduler: Any = getattr(importlib.import_module("diffusers"), kind).from_pretrained(
            folder, local_files_only=True
        )
        said: Any = self._scheduler.config
        if said.get("use_dynamic_shifting"):
            # What diffusers' pipelines of flow-matching networks with dynamic shifting do.
            slope = (said.max_shift - said.base_shift) / (said.max_image_seq_len - said.base_image_seq_len)
            shift = said.base_shift + slope * (positions - said.base_image_seq_len)
            self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift)
        else:
            self._scheduler.set_timesteps(steps)
        self._times: list[Tensor] = list(self._scheduler.timesteps)

    def start(self, strength: float | None) -> tuple[int, float, float]:
        """Return where the steps begin, and the factors on noise and on the photo's latents there.

        Parameters
        ----------
        strength
            How much noise the photo's latents get, in (0, 1]; `None` begins at noise alone.
        """
        if strength is None:
            return 0, float(getattr(self._scheduler, "init_noise_sigma", 1.0)), 0.0
        count = len(self._times)
        first = count - max(1, min(int(count * strength), count))
        times = torch.stack([self._times[first]])
        _begin(self._scheduler, first)
        add = getattr(self._scheduler, "scale_noise", None)
        one, none = torch.ones(_SHAPE), torch.zeros(_SHAPE)
        if add is not None:
            noise, picture = add(none, times, one), add(one, times, none)
        else:
            noise, picture = (self._scheduler.add_noise(p, n, times) for p, n in ((none, one), (one, none)))
        return first, float(noise.flatten()[0]), float(picture.flatten()[0])

    def steps(self, first: int) -> tuple[StepSettings, ...]:
        """Return the factors of all steps from one on.

        Parameters
        ----------
        first
            The step's number, counted from 0.

        Raises
        ------
        CheckpointError
            If a step is not linear in latents and prediction, as where a scheduler clips, or keeps what it saw.
        """
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(_SHAPE, generator=generator) * _LARGE for _ in range(2)]
        one, none = torch.ones(_SHAPE), torch.zeros(_SHAPE)
        probes = [(none, none), (one, none), (none, one), (drawn[0], drawn[1])]
        copies = [copy.deepcopy(self._scheduler) for _ in probes]
        for scheduler in copies:
            _begin(scheduler, first)
        found = []
        for time in self._times[first:]:
            scale, *_ = (float(_scaled(scheduler, one, time).flatten()[0]) for scheduler in copies)
            made = [_step(scheduler, time, *probe) for scheduler, probe in zip(copies, probes, strict=True)]
            fresh = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(0))
            noise = abs(float((made[0] / fresh).flatten()[0]))
            keep, move = (float((m - made[0]).flatten()[0]) for m in made[1:3])
            expected = drawn[0] * keep + drawn[1] * move + fresh * noise
            if not torch.allclose(made[3], expected, rtol=_TOLERANCE, atol=_TOLERANCE * _LARGE):
                raise CheckpointError(
                    f"{self._kind}: a step at {float(time):g} is not linear in latents and prediction; turn "
                    "clip_sample and thresholding off in scheduler_config.json, where the artist was trained without."
                )
            found.append(StepSettings(timestep=float(time), scale=scale, keep=keep, move=move, noise=noise))
        return tuple(found)


def _begin(scheduler: Any, first: int) -> None:  # noqa: ANN401 - untyped
    if hasattr(scheduler, "set_begin_index"):  # DDIM's steps depend on the time alone
        scheduler.set_begin_index(first)


def _scaled(scheduler: Any, latents: Tensor, time: Tensor) -> Tensor:  # noqa: ANN401 - untyped
    """Return what the network is given; Euler's scheduler insists on being asked before each step."""
    scale = getattr(scheduler, "scale_model_input", None)
    made: Tensor = latents if scale is None else scale(latents, time)
    return made


def _step(scheduler: Any, time: Tensor, latents: Tensor, prediction: Tensor) -> Tensor:  # noqa: ANN401 - untyped
    generator = torch.Generator().manual_seed(0)
    made: Tensor = scheduler.step(prediction, time, latents, generator=generator, return_dict=False)[0]
    return made
