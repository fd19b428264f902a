"""What rounding to a precision's levels costs a layer by itself: the part of its error that is no fault."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE
from pocketcrafter.runtime.bundle.results import Precision

_EIGHT_BITS: Final = 8


@dataclass(frozen=True)
class Rounding:
    """How a precision rounds the weights of layers, and what they multiply.

    Attributes
    ----------
    weight_bits
        Of weights; `None` of floats.
    dynamic
        Whether inputs are rounded to 8 bits of their own range, row by row. Static ranges are seen in what an artifact
        shows.
    hidden_bits
        Of what sums and products give that the artifact does not show; `None` where they stay floats.
    """

    weight_bits: int | None = None
    dynamic: bool = False
    hidden_bits: int | None = None

    def weight(self, weight: Tensor) -> Tensor:
        """Return a weight on symmetric levels: one scale an output channel, or a group where levels are few."""
        if self.weight_bits is None or weight.ndim < 2:
            return weight
        rows = weight.flatten(1)
        if self.weight_bits < _EIGHT_BITS and rows.shape[1] % GROUP_SIZE == 0:
            rows = rows.reshape(-1, GROUP_SIZE)
        steps = rows.abs().amax(1, keepdim=True).div(2 ** (self.weight_bits - 1) - 1).clamp_min(1e-30)
        return ((rows / steps).round() * steps).reshape(weight.shape)

    def inputs(self, inputs: Tensor) -> Tensor:
        """Return a layer's inputs on the levels of each row's range, if the precision rounds them so."""
        if not self.dynamic:
            return inputs
        least = inputs.amin(-1, keepdim=True).clamp_max(0)
        steps = (inputs.amax(-1, keepdim=True).clamp_min(0) - least).div(2**_EIGHT_BITS - 1).clamp_min(1e-30)
        return ((inputs - least) / steps).round() * steps + least

    def hidden(self, made: Tensor) -> Tensor:
        """Return what a sum or a product gives, on the levels of its range."""
        if self.hidden_bits is None:
            return made
        least, most = made.amin(), made.amax()
        step = (most - least).div(2**self.hidden_bits - 1).clamp_min(1e-30)
        return ((made - least) / step).round() * step + least


EXACT: Final = Rounding()
_OF_PRECISION: Final[Mapping[Precision, Rounding]] = {
    Precision.INT8: Rounding(8),
    Precision.A16W8: Rounding(8),
    Precision.A16W4: Rounding(4),
    Precision.W8: Rounding(8),
    Precision.W4: Rounding(4),
    Precision.W8A8_DYNAMIC: Rounding(8, dynamic=True),
    Precision.A8W4_DYNAMIC: Rounding(4, dynamic=True),
    Precision.PALETTE6: Rounding(6),
    Precision.PALETTE4: Rounding(4),
}
"""Of quantized precisions; a palette is at least as fine as levels of as many bits."""


def rounding_of(precision: Precision, *, hides_integers: bool = False) -> Rounding:
    """Return what a precision rounds; nothing where it computes in floats.

    Parameters
    ----------
    precision
        The artifact's.
    hides_integers
        Whether sums and products that the artifact does not show are integers, too, where activations are.
    """
    rounding = _OF_PRECISION.get(precision, EXACT)
    return replace(rounding, hidden_bits=_EIGHT_BITS) if hides_integers and precision is Precision.INT8 else rounding
