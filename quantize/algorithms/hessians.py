"""Hessians of layer-wise quantization error: what GPTQ and smoothing need to know of the calibration data.

Rounding a linear layer's weight ``W`` to ``Ŵ`` changes its output by ``‖(W − Ŵ)·X‖² = tr((W − Ŵ)·XXᵀ·(W − Ŵ)ᵀ)``. The
Hessian of that error with respect to a row of ``Ŵ`` is ``2·XXᵀ``; as in GPTQ implementations, the mean of ``x·xᵀ`` over
the calibration data is stored in its place: the scale factor changes no result.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

Hessians = Mapping[str, Tensor]
"""Mean of ``x·xᵀ`` over the calibration data, ``(K, K)`` float64, by the qualified name of a linear layer."""

_MAX_INPUTS: Final = 4096
"""A float64 Hessian of more inputs would take more than 128 MiB."""
_BATCH_ROWS: Final = 256
"""Rows that are collected before one matrix product: a decoder brings them one at a time."""


class HessianCollector:
    """Accumulates the Hessians of a model's linear layers while the model runs.

    Attributes
    ----------
    enabled
        Whether forward passes are counted. Set it to `False` for samples that are held back to measure with.
    """

    def __init__(self) -> None:
        self.enabled = True
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}
        self._pending: dict[str, list[Tensor]] = {}

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Observe the inputs of a model's linear layers inside the context; layers of over 4096 inputs are left out."""
        layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module.in_features <= _MAX_INPUTS
        }
        handles = [layer.register_forward_pre_hook(self._hook(name)) for name, layer in layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def hessians(self) -> dict[str, Tensor]:
        """Return the Hessians of the layers that ran."""
        for name, rows in self._pending.items():
            if rows:
                self._accumulate(name)
        return {name: total / self._rows[name] for name, total in self._sums.items()}

    def _hook(self, name: str) -> Any:  # noqa: ANN401 - a hook
        def observe(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not self.enabled:
                return
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            pending = self._pending.setdefault(name, [])
            pending.append(rows)
            # A tensor of many rows is added at once; of the others each has at least one row.
            if len(rows) >= _BATCH_ROWS or len(pending) >= _BATCH_ROWS:
                self._accumulate(name)

        return observe

    def _accumulate(self, name: str) -> None:
        rows = torch.cat(self._pending[name])
        self._pending[name] = []
        self._sums[name] = self._sums.get(name, 0) + rows.T @ rows
        self._rows[name] = self._rows.get(name, 0) + len(rows)


def write_hessians(path: Path, hessians: Hessians) -> None:
    """Write Hessians as float32 `.npz`."""
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **{name: hessian.float().numpy() for name, hessian in hessians.items()})
    write_bytes(path, archive.getvalue())


def read_hessians(path: Path) -> dict[str, Tensor]:
    """Read what `write_hessians` wrote, as float64.

    Raises
    ------
    ConfigError
        If the file is damaged or holds something other than finite square matrices.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            hessians = {name: torch.from_numpy(data[name]).double() for name in data.files}
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise ConfigError(f"{path}: cannot be read as Hessians ({error}); remove the stage to rebuild it.") from error
    for name, hessian in hessians.items():
        if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1] or not torch.isfinite(hessian).all():
            raise ConfigError(f"{path}: `{name}` is not a finite square matrix; remove the stage to rebuild it.")
    return hessians
