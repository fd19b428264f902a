"""Static INT8 quantization of ONNX models for ONNX Runtime: QDQ pairs, per-channel weights, per-tensor activations."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from pocketcrafter.quantize.algorithms.ranges import SHIPPED, Range
from pocketcrafter.quantize.onnx.graph import WEIGHTED, inside, makers_of, save_stripped
from pocketcrafter.quantize.onnx.ranges import activation_ranges, activation_sizes
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

_JOINING: Final = frozenset({"Add", "Mul"})
_ORDERING: Final = frozenset({"Reshape", "DepthToSpace", "Transpose", "Flatten"})
_MOVING: Final = _ORDERING | {"MaxPool", "Slice"}
_REMOVABLE: Final = frozenset({"Relu", "Clip"})
_PASSING: Final = _MOVING | _REMOVABLE | {"HardSwish"}


def quantize_onnx(
    fp32_onnx: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    out: Path,
    *,
    keep_fp32: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Quantize weights and activations of an ONNX model to INT8.

    The same layers become INT8 as in :func:`pocketcrafter.quantize.torch.pt2e.quantize_static`: those with weights, and
    additions and multiplications whose operands all come from INT8 layers. Ranges are chosen as there: from minimum to
    maximum for the model's inputs, by percentile for every other activation.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, with static shapes.
    calibration
        At least one sample of float32 inputs, by name.
    out
        Where the quantized model goes, without the exporter's metadata (which holds paths of the building machine);
        written under a temporary name first.
    keep_fp32
        Qualified names of torch modules that stay float32 with everything below them.
    progress
        Called with samples read and samples in all.

    Raises
    ------
    ConfigError
        If there is no calibration sample, or nothing is left to quantize.
    """
    if not calibration:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    model = onnx.load(fp32_onnx)
    nodes = int8_nodes(model, keep_fp32)
    if not nodes:
        raise ConfigError(f"{fp32_onnx}: no layer is left to quantize; keep fewer modules in float32, or build fp32.")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        temporary, ranges = Path(folder) / out.name, Path(folder) / "ranges.json"
        _write_ranges(model, fp32_onnx, calibration, ranges, progress)
        quantize_static(
            fp32_onnx,
            temporary,
            calibration_cache_path=ranges,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=nodes,
        )
        save_stripped(onnx.load(temporary), out)


def _write_ranges(
    model: onnx.ModelProto,
    stored: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write what the activations of a stored model range over, where ONNX Runtime's own calibration would."""
    makers = makers_of(model.graph)
    inputs = {value.name for value in model.graph.input}
    sizes = activation_sizes(model)
    # What a constant was reshaped to is its own origin.
    origins = {name: origin if (origin := _origin(name, makers)) in sizes else name for name in sizes}
    choose = {o: Range.MIN_MAX if o in inputs else SHIPPED for o in origins.values()}
    found = activation_ranges(stored, calibration, choose, progress)
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
    """Return the value that operators which only put values elsewhere make a value of."""
    while (node := makers.get(name)) is not None and node.op_type in _ORDERING:
        name = node.input[0]
    return name


def _source(node: onnx.NodeProto | None, makers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Go up through operators that only move or clip values."""
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    return node
