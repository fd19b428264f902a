"""Static INT8 quantization of ONNX models for ONNX Runtime: QDQ pairs, per-channel weights, per-tensor activations.

Activation ranges come from the graph itself, which samples its activations as observers do in torch.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from pocketcrafter.quantize.algorithms.ranges import SAMPLED_VALUES, activation_range, sampled_indices
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import ActivationRange, MinMax, StaticInt8
from pocketcrafter.quantize.onnx.graph import REMOVABLE, WEIGHTED, clip_ranges, inside, makers_of, strip_metadata
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options
from pocketcrafter.runtime.errors import ConfigError

_JOINING: Final = frozenset({"Add", "Mul"})
_RESHAPING: Final = frozenset({"Reshape", "DepthToSpace", "Transpose", "Flatten"})
_MOVING: Final = _RESHAPING | {"MaxPool", "Slice"}
_PASSING: Final = _MOVING | REMOVABLE | {"HardSwish"}
_SAMPLED: Final = ".sampled"


def quantize_qdq(
    model: onnx.ModelProto,
    scheme: StaticInt8,
    calibration: Calibration,
    progress: Callable[[int, int], None] | None = None,
) -> onnx.ModelProto:
    """Quantize weights and activations of an ONNX model to INT8.

    The same layers become INT8 as in :func:`pocketcrafter.quantize.torch.pt2e.quantize_static`: those with weights, and
    additions and multiplications whose operands all come from INT8 layers. Activation ranges are chosen as there.

    Parameters
    ----------
    model
        Written by ``torch.onnx.export(..., dynamo=True)``, with static shapes; not modified.
    scheme
        The range method, and modules that stay float32.
    calibration
        At least one sample.
    progress
        Called with samples read and samples in all.

    Returns
    -------
    onnx.ModelProto
        Without the exporter's metadata, which holds paths of the building machine.

    Raises
    ------
    ConfigError
        If there is no calibration sample, or no layer is left to quantize.
    """
    if not calibration.samples:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    nodes = int8_nodes(model, scheme.keep_fp32)
    if not nodes:
        raise ConfigError("No layer is left to quantize; keep fewer modules in float32, or build fp32.")
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-qdq-") as name:
        source, made, ranges = (Path(name) / file for file in ("fp32.onnx", "int8.onnx", "ranges.json"))
        onnx.save(model, source)
        _write_ranges(model, source, scheme, calibration, ranges, progress)
        quantize_static(
            source,
            made,
            calibration_cache_path=ranges,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=nodes,
        )
        quantized = onnx.load(made)
    strip_metadata(quantized)
    return quantized


def _write_ranges(
    model: onnx.ModelProto,
    stored: Path,
    scheme: StaticInt8,
    calibration: Calibration,
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the activation ranges of a stored model to the cache file that spares ONNX Runtime its own calibration."""
    makers = makers_of(model.graph)
    inputs = {value.name for value in model.graph.input}
    sizes = activation_sizes(model)
    # A reshaped constant has no activation as its origin, and stands for itself.
    origins = {name: origin if (origin := _origin(name, makers)) in sizes else name for name in sizes}
    choose = {o: MinMax() if o in inputs else scheme.range for o in origins.values()}
    found = clip_ranges(activation_ranges(stored, calibration.samples, choose, progress), model.graph)
    # Reshape, Transpose, Flatten and DepthToSpace keep their input's scale: wherever the scales of an operator's input
    # and output differ, ONNX Runtime inserts a requantization.
    ranges = {name: tuple(map(np.float32, found[origin])) for name, origin in origins.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, dict(ranges)), out)


def int8_nodes(model: onnx.ModelProto, keep_fp32: tuple[str, ...]) -> list[str]:
    """Return the names of the nodes that become INT8, in graph order."""
    makers = makers_of(model.graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    chosen: set[str] = set()
    names: list[str] = []
    for node in model.graph.node:
        if inside(node, keep_fp32):
            continue
        data = [name for name in node.input if name and name not in constants]
        sources = [_source(makers.get(name), makers) for name in data]
        follows = bool(sources) and all(s is not None and s.name in chosen for s in sources)
        weighted = node.op_type in WEIGHTED and len(data) == 1
        joins = node.op_type in _JOINING and len(data) == 2 and follows
        if weighted or joins:
            chosen.add(node.name)
        if weighted or joins or (node.op_type in _MOVING | REMOVABLE and follows):
            names.append(node.name)
    return names


def _origin(name: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    """Return the value that a value is a reshaped or transposed copy of."""
    while (node := makers.get(name)) is not None and node.op_type in _RESHAPING:
        name = node.input[0]
    return name


def _source(node: onnx.NodeProto | None, makers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Skip operators that only move, clip or bend values, up to the layer whose output they take."""
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    return node


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
