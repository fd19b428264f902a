"""Ranges of an ONNX model's activations, chosen as those of torch models are, from a sample that its graph draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.algorithms.ranges import KEPT, Range, places, range_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.ort_sessions import open_session, unoptimized_options

_DRAWN: Final = ".drawn"


def activation_ranges(
    stored: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    choose: Mapping[str, Range],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[np.float32, np.float32]]:
    """Run a model on samples, and return what its activations are to range over.

    Parameters
    ----------
    stored
        A float32 model of static shapes; a model beside it, which draws, is written and stays.
    calibration
        At least one sample of float32 inputs, by name.
    choose
        How the range of each activation is chosen, by its name in the graph; no others are looked at.
    progress
        Called with samples read and samples in all.

    Returns
    -------
    dict
        Lowest and highest value, which hold 0 between them, with the room that few values need.
    """
    model = onnx.load(stored)
    sizes = activation_sizes(model)
    drawing = stored.with_name(f"{stored.stem}.drawing.onnx")
    onnx.save(_with_drawing(model, [name for name in choose if sizes[name] > KEPT], sizes), drawing)
    session = open_session(drawing, unoptimized_options())
    asked = [out.name for out in session.get_outputs()]
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in choose}
    for done, sample in enumerate(calibration, start=1):
        # An input or a small activation is its own sample.
        for name, drawn in [*zip(asked, session.run(asked, dict(sample)), strict=True), *sample.items()]:
            of = name.removesuffix(_DRAWN)
            if of in kept:
                kept[of].append(torch.from_numpy(np.ascontiguousarray(drawn)).reshape(-1))
        if progress is not None:
            progress(done, len(calibration))
    found = {name: range_of(choose[name], kept[name], sizes[name]) for name in choose}
    return {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.items()}


def activation_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many elements each float32 activation has, by its name."""
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _with_drawing(model: onnx.ModelProto, large: Sequence[str], sizes: Mapping[str, int]) -> onnx.ModelProto:
    """Let a model say what its activations are, of large ones what an observer would keep, with both extremes."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "drawn.flat"))
    graph.initializer.extend(
        numpy_helper.from_array(places(size).numpy(), f"drawn.places.{size}")
        for size in sorted({sizes[name] for name in large})
    )
    asked = []
    for name in large:
        flat, some, lowest, highest = (f"{name}.{what}" for what in ("flat", "some", "lowest", "highest"))
        graph.node.extend(
            [
                helper.make_node("Reshape", [name, "drawn.flat"], [flat]),
                helper.make_node("Gather", [flat, f"drawn.places.{sizes[name]}"], [some]),
                helper.make_node("ReduceMin", [flat], [lowest], keepdims=1),
                helper.make_node("ReduceMax", [flat], [highest], keepdims=1),
                helper.make_node("Concat", [some, lowest, highest], [f"{name}{_DRAWN}"], axis=0),
            ]
        )
        asked.append(f"{name}{_DRAWN}")
    # What was an output is one no longer: its sample, or itself where it is small, is asked for like any other.
    small = sorted(set(sizes) - set(large) - {value.name for value in graph.input})
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in [*asked, *small])
    return model
