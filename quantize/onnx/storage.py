"""How an ONNX model keeps weights: float16 where that is exact, integers unsigned where products would saturate."""

import math
from pathlib import Path
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from pocketcrafter.quantize.onnx.graph import constants_of, drop_unused
from pocketcrafter.runtime.backends.onnxruntime import SIGNED_WEIGHTS
from pocketcrafter.runtime.errors import ConfigError

_MIN_ELEMENTS: Final = 256
"""For smaller weights the name and the extra node cost more than is saved."""
_HALF = 128
_LARGEST: Final = 2_000_000_000
"""Bytes of a model in one file: protobuf ends at 2 GiB."""


def with_float16_storage(model: ModelProto, folder: Path | None = None) -> ModelProto:
    """Return a model whose weights are stored as float16, followed by a `Cast`, wherever that loses nothing.

    ONNX Runtime folds the casts when it loads the model: the network computes in float32 as before, bit for bit. All
    weights that were trained or stored in float16 qualify.

    Parameters
    ----------
    model
        Not modified.
    folder
        Where its external data lies, if it has any: weights are read from there one after another, and are inside the
        model that is returned.

    Raises
    ------
    ConfigError
        If that would be more than a file holds.
    """
    made = ModelProto()
    made.CopyFrom(model)
    casts: list[NodeProto] = []
    size = 0
    for initializer in made.graph.initializer:
        if uses_external_data(initializer):
            read_external(initializer, folder or Path())
        size += _stored(initializer, casts)
        if size > _LARGEST:
            raise ConfigError(f"An ONNX file holds {_LARGEST / 1e9:.0f} GB, and the weights take more: build w8.")
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def read_external(tensor: TensorProto, folder: Path) -> None:
    """Put what a tensor has in a file into the tensor.

    Parameters
    ----------
    tensor
        With external data; changed in place.
    folder
        Where the file lies.
    """
    load_external_data_for_tensor(tensor, str(folder))
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT


def _stored(initializer: TensorProto, casts: list[NodeProto]) -> int:
    """Store a weight as float16 where that is exact, with a cast behind it; return its bytes."""
    if initializer.data_type == TensorProto.FLOAT and math.prod(initializer.dims) >= _MIN_ELEMENTS:
        weights = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            float16 = weights.astype(np.float16)
        if np.array_equal(float16, weights):
            name = initializer.name
            stored = f"{name}.float16"
            initializer.CopyFrom(numpy_helper.from_array(float16, stored))
            casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    return int(initializer.ByteSize())


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
