"""A network that is tried in a component's place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec

Run = Callable[[tuple[Tensor, ...]], Sequence[Tensor]]


@dataclass(frozen=True)
class InPlace:
    """A network in its component's place.

    Attributes
    ----------
    run_network
        Given the component's inputs in its order, as its contract has them.
    spec
        The component's contract.
    """

    run_network: Run
    spec: ComponentSpec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `pocketcrafter.runtime.backends.base.Session`."""
        tensors = tuple(torch.from_numpy(np.array(array)) for array in checked_inputs(inputs, self.spec).values())
        with torch.no_grad():
            return named_outputs([out.numpy() for out in self.run_network(tensors)], self.spec)
