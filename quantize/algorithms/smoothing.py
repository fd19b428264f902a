"""Moves quantization difficulty between a layer's activations and its weights by scaling channels.

A layer's input channels are divided by a factor in the layer that produces them, and the weights that read them are
multiplied by it, so that the float network computes the same (SmoothQuant: Xiao et al., ICML 2023; AWQ: Lin et al.,
MLSys 2024).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.runtime.errors import ConfigError

_MAX_FACTOR: Final = 16.0
"""Factors lie between this and its inverse: beyond that, the weights of the producing layer get outliers instead."""
_Network = TypeVar("_Network", bound=nn.Module)


def smoothed(
    model: _Network, pairs: Mapping[str, Sequence[str]], hessians: Hessians, strength: float
) -> tuple[_Network, dict[str, Tensor]]:
    """Return an equivalent model whose most active input channels have larger weights.

    Parameters
    ----------
    model
        Not modified.
    pairs
        For each producing module the linear layers that read its output. The producer has a ``weight`` whose first axis
        is its output channels (a norm, or a linear layer without bias), and nothing else reads its output.
    hessians
        Of the linear layers.
    strength
        From 0 (no change) to 1 (weights scale with the root mean square of their inputs).

    Returns
    -------
    torch.nn.Module
        A copy of the model.
    dict
        The Hessians of the copy.

    Raises
    ------
    ConfigError
        If a linear layer has no Hessian.
    """
    made, changed = copy.deepcopy(model), dict(hessians)
    for maker, readers in pairs.items():
        if lacking := [name for name in readers if name not in hessians]:
            raise ConfigError(
                f"Smoothing needs the Hessians of {', '.join(lacking)}: run the model while they are collected."
            )
        spread = hessians[readers[0]].diagonal().sqrt().float().clamp(min=1e-8)
        factor = (spread / spread.log().mean().exp()).pow(strength).clamp(1 / _MAX_FACTOR, _MAX_FACTOR)
        with torch.no_grad():
            weight: Tensor = made.get_submodule(maker).get_parameter("weight")
            weight.div_(factor if weight.ndim == 1 else factor[:, None])
            for name in readers:
                made.get_submodule(name).get_parameter("weight").mul_(factor)
                changed[name] = hessians[name] / (factor[:, None] * factor).double()
    return made, changed
