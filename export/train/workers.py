"""Processes that train together: each takes its share of every batch, and their gradients are averaged.

`torchrun --nproc-per-node N --no-python pocketcrafter …` starts them; a process that was started alone is the only one.
Weights are whole in each process, or sharded over all of them (FSDP: torch's `fully_shard`).
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pocketcrafter.runtime.errors import ConfigError


@dataclass(frozen=True)
class Workers:
    """One process among those that train together.

    Attributes
    ----------
    rank
        Its number; the first one writes files and shows progress.
    count
        How many there are.
    sharded
        Whether each keeps a part of the weights alone.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False

    def shard(self, network: nn.Module, blocks: Iterable[nn.Module]) -> None:
        """Keep this process's part of a network's weights alone, where they are sharded.

        Weights must be the same in all processes before.

        Parameters
        ----------
        network
            Changed in place: its parameters are `DTensor` afterwards.
        blocks
            Modules of it that are gathered when they run, and given up again; the rest is gathered for a whole pass.
        """
        if self.sharded:
            for block in blocks:
                fully_shard(block)
            fully_shard(network)

    @contextmanager
    def interrupts(self) -> Iterator[Callable[[], None]]:
        """Hold Ctrl-C back where processes write a checkpoint together; call what is yielded after each step.

        It raises `KeyboardInterrupt` in all of them at once. Where one process writes alone, Ctrl-C does so as ever.
        """
        if not self.sharded:
            yield lambda: None
            return
        held: list[int] = []

        def stop_together() -> None:
            if self.means({"held": float(len(held))})["held"] > 0:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
        try:
            yield stop_together
        finally:
            signal.signal(signal.SIGINT, before)

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor of which each process may have a part; all processes call this together.

        Parameters
        ----------
        tensor
            A weight, or what an optimizer keeps of it.
        """
        made: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return made

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
        if self.count == 1 or self.sharded:
            # Sharded gradients are averaged where they are shared out.
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


def joined(device: torch.device, *, sharded: bool = False) -> Workers:
    """Join the processes that `torchrun` started, and return this one among them.

    Parameters
    ----------
    device
        That this process trains on.
    sharded
        Whether each is to keep a part of the weights alone.

    Raises
    ------
    ConfigError
        If weights are to be sharded over one process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        if sharded:
            raise ConfigError("--sharded: one process has nobody to share weights with; start several by torchrun.")
        return Workers()
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Workers(distributed.get_rank(), distributed.get_world_size(), sharded)


def placed_like(tensor: Tensor, example: Tensor) -> Tensor:
    """Return a whole tensor as another one is kept: its type and device, and this process's part of it.

    Parameters
    ----------
    tensor
        The same in all processes.
    example
        Of its shape.
    """
    made = tensor.to(device=example.device, dtype=example.dtype)
    if isinstance(example, DTensor):
        return distribute_tensor(made, example.device_mesh, example.placements, src_data_rank=None)
    return made


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
