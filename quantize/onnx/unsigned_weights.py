"""Weights of integer products stored unsigned, with which ONNX Runtime's products are exact on every processor."""

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from pocketcrafter.quantize.onnx.graph import constants_of, drop_unused
from pocketcrafter.runtime.backends.onnxruntime import SIGNED_WEIGHTS

_HALF = 128


def store_unsigned(model: ModelProto) -> bool:
    """Store constant INT8 weights of integer products as uint8, the zero point moved with them, in place.

    Levels and zero points move by 128 alike, so that every product is what it was.

    Returns
    -------
    bool
        Whether there were any.
    """
    graph = model.graph
    constants = constants_of(graph)
    made: dict[str, TensorProto] = {}
    for node in graph.node:
        if node.op_type not in SIGNED_WEIGHTS:
            continue
        weight, zero = SIGNED_WEIGHTS[node.op_type]
        stored = constants.get(node.input[weight])
        if stored is None or stored.data_type != TensorProto.INT8:
            continue
        # Without a zero point it is 0.
        node.input.extend([""] * (zero + 1 - len(node.input)))
        if not node.input[zero]:
            node.input[zero] = f"{stored.name}.zero"
            constants[node.input[zero]] = numpy_helper.from_array(np.int8(0), node.input[zero])
        for place in (weight, zero):
            name = node.input[place]
            node.input[place] = f"{name}.unsigned"
            if node.input[place] not in made:
                levels = numpy_helper.to_array(constants[name]).astype(np.int16) + _HALF
                made[node.input[place]] = numpy_helper.from_array(levels.astype(np.uint8), node.input[place])
    graph.initializer.extend(made.values())
    drop_unused(graph)
    return bool(made)
