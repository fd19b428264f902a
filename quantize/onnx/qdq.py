"""Static INT8 quantization of ONNX models for ONNX Runtime: QDQ pairs, per-channel weights, per-tensor activations."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import MinMax, StaticInt8
from pocketcrafter.quantize.onnx.graph import WEIGHTED, inside, makers_of, strip_metadata
from pocketcrafter.quantize.onnx.ranges import activation_ranges, activation_sizes
from pocketcrafter.runtime.errors import ConfigError

_JOINING: Final = frozenset({"Add", "Mul"})
_RESHAPING: Final = frozenset({"Reshape", "DepthToSpace", "Transpose", "Flatten"})
_MOVING: Final = _RESHAPING | {"MaxPool", "Slice"}
_REMOVABLE: Final = frozenset({"Relu", "Clip"})
_PASSING: Final = _MOVING | _REMOVABLE | {"HardSwish"}


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
    found = activation_ranges(stored, calibration.samples, choose, progress)
    # Reshape, Transpose, Flatten and DepthToSpace keep their input's scale: wherever the scales of an operator's input
    # and output differ, ONNX Runtime inserts a requantization.
    ranges = {name: found[origin] for name, origin in origins.items()}
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
        if weighted or joins or (node.op_type in _MOVING | _REMOVABLE and follows):
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
