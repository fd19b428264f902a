"""INT8 weights under float arithmetic, as Core ML packages keep them; rounded here, so that torch has them too."""

import copy
from typing import Final

from torch import Tensor, nn

from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError

SMALLEST: Final = 2048
"""Weights of fewer elements stay as they are: the layers are small, and the bytes saved too."""

_LEVELS: Final = 127


def quantize_weights(model: nn.Module, keep_fp32: tuple[str, ...] = ()) -> tuple[nn.Module, tuple[str, ...]]:
    """Round the weights of convolutions and linear layers to INT8, symmetric, one scale for each output channel.

    A channel's scale is its largest magnitude over 127, rounded to float16, which is what packages keep; the weights
    become whole multiples of it in [-127, 127]. Activations are not quantized.

    Parameters
    ----------
    model
        Left as it is.
    keep_fp32
        Qualified names of modules whose weights stay as they are, with everything below them.

    Returns
    -------
    torch.nn.Module
        A copy that computes in float32 with the rounded weights: the fake-quantized model.
    tuple of str
        The qualified names of the weights that were rounded.

    Raises
    ------
    ConfigError
        If no weight is left to quantize.
    """
    quantized, names = copy.deepcopy(model), []
    for name, module in quantized.named_modules():
        kept = is_within(name, keep_fp32)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.numel() >= SMALLEST and not kept:
            module.weight = nn.Parameter(_rounded(module.weight.detach()), requires_grad=False)
            names.append(f"{name}.weight".lstrip("."))
    if not names:
        raise ConfigError(
            f"{type(model).__name__} has no convolution or linear layer of {SMALLEST} weights or more that keep_fp32 "
            "leaves to quantize: keep fewer modules, or build it in fp16."
        )
    return quantized, tuple(names)


def _rounded(weight: Tensor) -> Tensor:
    largest = weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
    scale = (largest / _LEVELS).half().float()
    steps = (weight / scale.where(scale > 0, 1.0)).round().clamp(-_LEVELS, _LEVELS)
    return steps * scale
