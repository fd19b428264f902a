"""The checks that every backend makes on what goes in and comes out of a session."""

from collections.abc import Mapping, Sequence

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray, FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError


def checked_inputs(inputs: Mapping[str, FloatArray], spec: ComponentSpec) -> dict[str, FloatArray]:
    """Return the inputs in the spec's order as contiguous float32.

    Raises
    ------
    ShapeMismatchError
        If an input is missing, unknown or of another shape.
    """
    wanted = {t.name: t.shape for t in spec.inputs}
    if inputs.keys() != wanted.keys():
        raise ShapeMismatchError(
            f"`{spec.name}` takes the inputs {', '.join(wanted)}; it was given {', '.join(inputs) or 'none'}."
        )
    for name, shape in wanted.items():
        if inputs[name].shape != shape:
            raise ShapeMismatchError(f"`{spec.name}.{name}` has shape {shape}, not {inputs[name].shape}.")
    return {name: np.ascontiguousarray(inputs[name], dtype=np.float32) for name in wanted}


def named_outputs(values: Sequence[AnyFloatArray], spec: ComponentSpec) -> dict[str, FloatArray]:
    """Name the outputs, given in the spec's order, and return them as float32.

    Raises
    ------
    BackendError
        If their number or a shape is not the spec's.
    """
    shapes, wanted = [v.shape for v in values], [t.shape for t in spec.outputs]
    if shapes != wanted:
        raise BackendError(f"`{spec.name}` returned tensors of shapes {shapes}; its contract says {wanted}.")
    return {t.name: np.asarray(v, dtype=np.float32) for t, v in zip(spec.outputs, values, strict=True)}
