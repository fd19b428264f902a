"""Moves what is hard to round from one factor of a product to the other: the weights, or what they multiply.

A layer's input channels are divided by a factor where they are made and its weights multiplied by it where they are
read: in full precision nothing changes (SmoothQuant: Xiao et al., ICML 2023; AWQ: Lin et al., MLSys 2024).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.moments import Moments
from pocketcrafter.runtime.errors import ConfigError

_LARGEST: Final = 16.0
"""Factors lie between this and its inverse: further apart, the layer that makes the channels would suffer."""
_Network = TypeVar("_Network", bound=nn.Module)


def smoothed(
    model: _Network, pairs: Mapping[str, Sequence[str]], moments: Moments, strength: float
) -> tuple[_Network, dict[str, Tensor]]:
    """Return an equal model whose input channels that matter most have larger weights.

    Parameters
    ----------
    model
        Left as it is.
    pairs
        Linear layers by the module that makes their input: one with a ``weight`` whose first axis is its output
        channels (a norm, or a linear layer without bias), read by nothing else.
    moments
        Of the linear layers' inputs.
    strength
        From 0 (nothing moves) to 1 (weights grow as their inputs' root mean square).

    Returns
    -------
    torch.nn.Module
        The copy.
    dict
        Its moments.

    Raises
    ------
    ConfigError
        If a pair has no moments.
    """
    made, changed = copy.deepcopy(model), dict(moments)
    for maker, readers in pairs.items():
        if lacking := [name for name in readers if name not in moments]:
            raise ConfigError(
                f"Smoothing needs the moments of {', '.join(lacking)}: let it run while they are watched."
            )
        spread = moments[readers[0]].diagonal().sqrt().float().clamp(min=1e-8)
        factor = (spread / spread.log().mean().exp()).pow(strength).clamp(1 / _LARGEST, _LARGEST)
        with torch.no_grad():
            weight: Tensor = made.get_submodule(maker).get_parameter("weight")
            weight.div_(factor if weight.ndim == 1 else factor[:, None])
            for name in readers:
                made.get_submodule(name).get_parameter("weight").mul_(factor)
                changed[name] = moments[name] / (factor[:, None] * factor).double()
    return made, changed
