"""Processes that train together: each takes its share of every batch, and their gradients are averaged.

`torchrun --nproc-per-node N --no-python pocketcrafter …` starts them; a process that was started alone is the only one.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Workers:
    """One process among those that train together.

    Attributes
    ----------
    rank
        Its number; the first one writes files and shows progress.
    count
        How many there are.
    """

    rank: int = 0
    count: int = 1

    def share(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return this process's share of a batch's rows.

        Parameters
        ----------
        rows
            Of the whole batch; of all shares together each row is one.
        """
        return rows[self.rank :: self.count]

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over all processes.

        Parameters
        ----------
        parameters
            The same ones in all of them.
        """
        if self.count == 1:
            return
        found = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in found])
        distributed.all_reduce(flat)
        means = torch.split(flat / self.count, [gradient.numel() for gradient in found])
        for gradient, mean in zip(found, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def means(self, parts: Mapping[str, float]) -> Mapping[str, float]:
        """Return figures of a step as means over all processes.

        Parameters
        ----------
        parts
            By name, of this process.
        """
        if self.count == 1:
            return parts
        values: Tensor = torch.tensor([*parts.values()], dtype=torch.float32)
        if distributed.get_backend() == "nccl":
            values = values.cuda()
        distributed.all_reduce(values)
        return dict(zip(parts, (values / self.count).tolist(), strict=True))

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()


def joined(device: torch.device) -> Workers:
    """Join the processes that `torchrun` started, and return this one among them.

    Parameters
    ----------
    device
        That this process trains on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Workers()
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Workers(distributed.get_rank(), distributed.get_world_size())


ALONE = Workers()
"""The only process."""


def rows_of_step(seed: int, step: int, batch: int, frames: int) -> npt.NDArray[np.intp]:
    """Return the rows of a step's whole batch, which depend on seed and step alone.

    Parameters
    ----------
    seed, step
        What they are drawn from.
    batch
        How many; all where there are no more.
    frames
        How many there are.
    """
    rng = np.random.default_rng([seed, step])
    return np.sort(rng.choice(frames, min(batch, frames), replace=False))
