"""Stores float32 weights that float16 holds exactly as float16, in half the bytes."""

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

_MIN_ELEMENTS: Final = 256
"""For smaller weights the name and the extra node cost more than is saved."""


def with_float16_storage(model: ModelProto) -> ModelProto:
    """Return a model whose weights are stored as float16, followed by a `Cast`, wherever that loses nothing.

    ONNX Runtime folds the casts when it loads the model: the network computes in float32 as before, bit for bit. All
    weights that were trained or stored in float16 qualify.

    Parameters
    ----------
    model
        With its weights inside; not modified.
    """
    made = ModelProto()
    made.CopyFrom(model)
    casts = []
    for initializer in made.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        weights = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            float16 = weights.astype(np.float16)
        if weights.size < _MIN_ELEMENTS or not np.array_equal(float16, weights):
            continue
        name = initializer.name
        stored = f"{name}.float16"
        initializer.CopyFrom(numpy_helper.from_array(float16, stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    onnx.checker.check_model(made)
    return made
