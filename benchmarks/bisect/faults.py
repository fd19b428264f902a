"""What is changed in an artifact to see whether it is found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from pocketcrafter.benchmarks.bisect.reference import Values
from pocketcrafter.runtime.fidelity import sqnr_db

_SAME_DB: Final = 20.0
SCALED: Final = 1.5
NARROWED: Final = 0.125


class Fault(StrEnum):
    """What is changed."""

    WEIGHT = "weight"
    """The weights of one output channel, negated."""
    SCALE = "scale"
    """The scales of a layer's integer weights, half as large again."""
    AXIS = "axis"
    """A layer's weights along one axis, reversed."""
    RANGE = "range"
    """The range of a layer's output, an eighth as wide."""


@dataclass(frozen=True)
class Planted:
    """A changed artifact, and the operators that its fault belongs to."""

    fault: Fault
    nodes: tuple[str, ...]
    observe: Callable[[], Values]


def negated(weight: np.ndarray, axis: int) -> np.ndarray:
    """Return a weight with the largest of its output channels negated.

    Parameters
    ----------
    weight
        Floats or integers.
    axis
        Of its output channels.
    """
    moved = np.moveaxis(weight.astype(np.float64), axis, 0).copy()
    largest = np.abs(moved.reshape(len(moved), -1)).sum(1).argmax()
    moved[largest] *= -1
    info = np.iinfo(weight.dtype) if weight.dtype.kind in "iu" else None
    back = np.moveaxis(moved, 0, axis)
    return (np.clip(back, info.min, info.max) if info else back).astype(weight.dtype)


def reversed_along(weight: np.ndarray, axis: int) -> np.ndarray:
    """Return a weight with its channels along an axis in reverse order."""
    return np.ascontiguousarray(np.flip(weight, axis))


TURNS: Final[Mapping[Fault, Callable[[np.ndarray, int], np.ndarray]]] = {
    Fault.WEIGHT: negated,
    Fault.AXIS: reversed_along,
}
"""How weights are changed."""


def differs(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a change of weights is one: a symmetric filter, reversed, is itself."""
    return sqnr_db(before.astype(np.float64), after.astype(np.float64)) < _SAME_DB
