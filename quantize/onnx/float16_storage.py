"""Stores float32 weights that float16 holds exactly in half the bytes."""

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

_LEAST: Final = 256
"""Elements; a name and a node cost more than smaller ones save."""


def stored_in_halves(model: ModelProto) -> ModelProto:
    """Return a model whose weights lie in float16 where that loses nothing, each with a cast back beside it.

    ONNX Runtime works the casts out when it opens the model: the network computes in float32, as before, and bit for
    bit the same. Weights that were trained or kept in float16 all qualify.

    Parameters
    ----------
    model
        With its weights inside; left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    casts = []
    for initializer in made.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        weights = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            halves = weights.astype(np.float16)
        if weights.size < _LEAST or not np.array_equal(halves, weights):
            continue
        name = initializer.name
        stored = f"{name}.float16"
        initializer.CopyFrom(numpy_helper.from_array(halves, stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    onnx.checker.check_model(made)
    return made
