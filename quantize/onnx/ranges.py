"""Activation ranges of an ONNX model: the graph itself samples its activations, as observers do in torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.algorithms.ranges import SAMPLED_VALUES, activation_range, sampled_indices
from pocketcrafter.quantize.config import ActivationRange
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.ort_sessions import open_session, unoptimized_options

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
    onnx.save(_with_samplers(model, [name for name in choose if sizes[name] > SAMPLED_VALUES], sizes), sampling)
    session = open_session(sampling, unoptimized_options())
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


def _with_samplers(model: onnx.ModelProto, large: Sequence[str], sizes: Mapping[str, int]) -> onnx.ModelProto:
    """Make a model return its activations: of large ones the elements that an observer keeps, and both extremes."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "sampled.flat"))
    graph.initializer.extend(
        numpy_helper.from_array(sampled_indices(size).numpy(), f"sampled.indices.{size}")
        for size in sorted({sizes[name] for name in large})
    )
    asked = []
    for name in large:
        flat, some, lowest, highest = (f"{name}.{what}" for what in ("flat", "some", "lowest", "highest"))
        graph.node.extend(
            [
                helper.make_node("Reshape", [name, "sampled.flat"], [flat]),
                helper.make_node("Gather", [flat, f"sampled.indices.{sizes[name]}"], [some]),
                helper.make_node("ReduceMin", [flat], [lowest], keepdims=1),
                helper.make_node("ReduceMax", [flat], [highest], keepdims=1),
                helper.make_node("Concat", [some, lowest, highest], [f"{name}{_SAMPLED}"], axis=0),
            ]
        )
        asked.append(f"{name}{_SAMPLED}")
    # The model's own outputs are no exception: they are returned sampled, or whole where they are small.
    small = sorted(set(sizes) - set(large) - {value.name for value in graph.input})
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in [*asked, *small])
    return model
