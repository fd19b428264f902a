"""Activation ranges of an ONNX model: the graph itself samples its activations, as observers do in torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.algorithms.ranges import SAMPLED_VALUES, activation_range, sampled_indices
from pocketcrafter.quantize.config import ActivationRange
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options

_SAMPLED: Final = ".sampled"


def activation_ranges(
    stored: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    choose: Mapping[str, ActivationRange],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[np.float32, np.float32]]:
    """Run a model on samples, and return the ranges of its activations.

    Parameters
    ----------
    stored
        A float32 model of static shapes; a model that samples its activations is written beside it and stays there.
    calibration
        At least one sample of float32 inputs, by name.
    choose
        How the range of each activation is chosen, by its name in the graph; other activations are not observed.
    progress
        Called with samples read and samples in all.

    Returns
    -------
    dict
        Smallest and largest value of each range, which contains 0, with the margin that small tensors get.
    """
    model = onnx.load(stored)
    sizes = activation_sizes(model)
    sampling = stored.with_name(f"{stored.stem}.sampling.onnx")
    inputs = {value.name for value in model.graph.input}
    large = [name for name in choose if sizes[name] > SAMPLED_VALUES]
    small = sorted(choose.keys() - set(large) - inputs)
    onnx.save(_with_samplers(model, large, small, sizes), sampling)
    options = unoptimized_options()
    # In the order of the file: by default, ONNX Runtime would sample after it has computed everything.
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    session = open_session(sampling, options)
    outputs = [out.name for out in session.get_outputs()]
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in choose}
    for done, sample in enumerate(calibration, start=1):
        # Inputs and small activations are kept whole.
        for name, values in [*zip(outputs, session.run(outputs, dict(sample)), strict=True), *sample.items()]:
            activation = name.removesuffix(_SAMPLED)
            if activation in kept:
                kept[activation].append(torch.from_numpy(np.ascontiguousarray(values)).reshape(-1))
        if progress is not None:
            progress(done, len(calibration))
    found = {name: activation_range(choose[name], kept[name], sizes[name]) for name in choose}
    return {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.items()}


def activation_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of elements of each float32 activation, by its name."""
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _with_samplers(
    model: onnx.ModelProto, large: Sequence[str], small: Sequence[str], sizes: Mapping[str, int]
) -> onnx.ModelProto:
    """Make a model return activations: of large ones the elements that an observer keeps, and both extremes."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "sampled.flat"))
    graph.initializer.extend(
        numpy_helper.from_array(sampled_indices(size).numpy(), f"sampled.indices.{size}")
        for size in sorted({sizes[name] for name in large})
    )
    behind: dict[str, list[onnx.NodeProto]] = {}
    for name in large:
        flat, some, lowest, highest = (f"{name}.{what}" for what in ("flat", "some", "lowest", "highest"))
        behind[name] = [
            helper.make_node("Reshape", [name, "sampled.flat"], [flat]),
            helper.make_node("Gather", [flat, f"sampled.indices.{sizes[name]}"], [some]),
            helper.make_node("ReduceMin", [flat], [lowest], keepdims=1),
            helper.make_node("ReduceMax", [flat], [highest], keepdims=1),
            helper.make_node("Concat", [some, lowest, highest], [f"{name}{_SAMPLED}"], axis=0),
        ]
    # Each activation is sampled as soon as it is there, so that its memory is free again before the next ones need it.
    computed = {output for node in graph.node for output in node.output}
    nodes = [made for name, samplers in behind.items() if name not in computed for made in samplers]
    for node in graph.node:
        nodes += [node, *(made for output in node.output for made in behind.get(output, ()))]
    del graph.node[:]
    graph.node.extend(nodes)
    # The model's own outputs are no exception: they are returned sampled, or whole where they are small.
    del graph.output[:]
    names = [*(f"{name}{_SAMPLED}" for name in large), *small]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return model
