"""How the weights of linear layers become integers: how many bits each has, and what is known of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from torch import nn

from pocketcrafter.quantize.algorithms.blocks import BLOCK, Blocks, nearest
from pocketcrafter.quantize.algorithms.gptq import round_gptq
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.modules import check_modules, is_within
from pocketcrafter.runtime.errors import ConfigError

BITS: Final = (2, 4, 8)
"""Bits that a weight may have; not every target has them all."""


@dataclass(frozen=True)
class Guidance:
    """What a recipe and the calibration say about rounding weights.

    Attributes
    ----------
    hessians
        Of the layers' inputs: such a layer is rounded by GPTQ, any other to the nearest level.
    bits
        Bits of single modules, with everything below them; the precision's own everywhere else.
    """

    hessians: Hessians = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)


NEAREST: Final = Guidance()
"""Nothing is known: every weight goes to the nearest level."""


def blocks_of(
    model: nn.Module,
    bits: int,
    guidance: Guidance,
    keep_fp32: tuple[str, ...] = (),
    *,
    positive: bool = False,
    brief: bool = False,
) -> dict[str, Blocks]:
    """Round the weights of linear layers whose inputs are whole blocks.

    Parameters
    ----------
    model
        Left as it is.
    bits
        Of layers that the guidance says nothing about.
    guidance
        How to round.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    positive, brief
        What scales must be; as in :func:`pocketcrafter.quantize.algorithms.blocks.nearest`.

    Returns
    -------
    dict
        Levels and scales by the layer's qualified name.

    Raises
    ------
    ConfigError
        If there is no layer to quantize, or the guidance names no module or bits that do not exist.
    """
    check_modules(model, tuple(guidance.bits), "weight_bits")
    if wrong := [f"{name}: {n}" for name, n in guidance.bits.items() if n not in BITS]:
        raise ConfigError(f"weight_bits: {', '.join(wrong)}; weights have 2, 4 or 8 bits.")
    made = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module.in_features % BLOCK or is_within(name, keep_fp32):
            continue
        wanted = bits_for(name, bits, guidance.bits)
        weight = module.weight.detach()
        hessian = guidance.hessians.get(name)
        made[name] = (
            nearest(weight, wanted, positive=positive, brief=brief)
            if hessian is None
            else round_gptq(weight, hessian, wanted, positive=positive, brief=brief)
        )
    if not made:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer of whole blocks of {BLOCK} inputs that keep_fp32 leaves to "
            "quantize: keep fewer modules, or build it in fp32."
        )
    return made


def bits_for(name: str, bits: int, special: Mapping[str, int]) -> int:
    """Return the bits of a layer: those of the first named module that it lies in, or the usual ``bits``."""
    return next((n for above, n in special.items() if is_within(name, (above,))), bits)
