"""Second moments of what goes into layers: all that layer-wise rounding must know of the calibration data.

``‖(W − Ŵ)·X‖² = tr((W − Ŵ)·XXᵀ·(W − Ŵ)ᵀ)``: the error of a layer's output needs the inputs' moments, not the inputs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.runtime.errors import ConfigError

Moments = Mapping[str, Tensor]
"""Mean of ``x·xᵀ`` over the calibration data, ``(K, K)`` float64, by the qualified name of a linear layer."""

_MOST_INPUTS: Final = 4096
"""A moment of more would take 128 MiB and more."""
_WAITING: Final = 256
"""Rows that are gathered for one product: a decoder that writes brings them one by one."""


class Watcher:
    """Sums up the moments of a model's linear layers while it runs.

    Attributes
    ----------
    awake
        Whether it sees anything.
    """

    def __init__(self) -> None:
        self.awake = True
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}
        self._waiting: dict[str, list[Tensor]] = {}

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Watch a model's linear layers inside the context; those of more than 4096 inputs are left out."""
        layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module.in_features <= _MOST_INPUTS
        }
        handles = [layer.register_forward_pre_hook(self._adder(name)) for name, layer in layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def moments(self) -> dict[str, Tensor]:
        """Return the moments of the layers that ran."""
        for name, rows in self._waiting.items():
            if rows:
                self._add_up(name)
        return {name: total / self._rows[name] for name, total in self._sums.items()}

    def _adder(self, name: str) -> Any:  # noqa: ANN401 - a hook
        def add(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not self.awake:
                return
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            waiting = self._waiting.setdefault(name, [])
            waiting.append(rows)
            # A tensor of many rows does not wait, and of the others each is at least one.
            if len(rows) >= _WAITING or len(waiting) >= _WAITING:
                self._add_up(name)

        return add

    def _add_up(self, name: str) -> None:
        rows = torch.cat(self._waiting[name])
        self._waiting[name] = []
        self._sums[name] = self._sums.get(name, 0) + rows.T @ rows
        self._rows[name] = self._rows.get(name, 0) + len(rows)


def write_moments(path: Path, moments: Moments) -> None:
    """Write moments as float32 `.npz`."""
    np.savez(path, allow_pickle=False, **{name: moment.float().numpy() for name, moment in moments.items()})


def read_moments(path: Path) -> dict[str, Tensor]:
    """Read what `write_moments` wrote.

    Raises
    ------
    ConfigError
        If the file is damaged or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            moments = {name: torch.from_numpy(data[name]).double() for name in data.files}
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise ConfigError(
            f"{path}: holds no moments of layers ({error}); remove the stage to have it made again."
        ) from error
    for name, moment in moments.items():
        if moment.ndim != 2 or moment.shape[0] != moment.shape[1] or not torch.isfinite(moment).all():
            raise ConfigError(f"{path}: `{name}` is no matrix of moments; remove the stage to have it made again.")
    return moments
