"""Static quantization of ONNX models with 16-bit activations and INT8 or INT4 weights, for Hexagon processors (HTP)."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

from pocketcrafter.quantize.algorithms.ranges import with_margin
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt16
from pocketcrafter.quantize.onnx.graph import clip_ranges, constants_of, inside, strip_metadata
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

_FIXED_RANGES: Final = frozenset({"Sigmoid", "Softmax", "Tanh"})
"""Operators whose output ranges the HTP prescribes."""
_WEIGHTS: Final[Mapping[int, QuantType]] = {8: QuantType.QInt8, 4: QuantType.QInt4}


def quantize_qdq_int16(
    model: onnx.ModelProto,
    scheme: StaticInt16,
    calibration: Calibration,
    progress: Callable[[int, int], None] | None = None,
) -> onnx.ModelProto:
    """Quantize every operator of an ONNX model: weights by output channel, activations unsigned 16-bit per tensor.

    Unlike :func:`pocketcrafter.quantize.onnx.qdq.quantize_qdq` it leaves nothing between the layers in floating point:
    the HTP has float16 in place of float32, and 16-bit integers lose less of a picture's residual than float16.

    Parameters
    ----------
    model
        Written by ``torch.onnx.export(..., dynamo=True)``, with static shapes; not modified.
    scheme
        Bits of the weights, headroom of the ranges, and modules that are not quantized: the HTP runs them in float16.
    calibration
        At least one sample.
    progress
        Called with samples read and samples in all.

    Returns
    -------
    onnx.ModelProto
        Without the exporter's metadata.

    Raises
    ------
    ConfigError
        If there is no calibration sample.
    """
    if not calibration.samples:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    source = onnx.ModelProto()
    source.CopyFrom(model)
    kept = [node.name for node in source.graph.node if inside(node, scheme.keep_fp32)]
    _separate_constants(source, set(kept))
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-qdq-") as name:
        stored, made, ranges = (Path(name) / file for file in ("fp32.onnx", "int16.onnx", "ranges.json"))
        onnx.save(source, stored)
        reader = _Reader(calibration.samples, progress)
        seen = _observed(stored, reader, ranges)
        config = get_qnn_qdq_config(
            stored,
            reader,
            activation_type=QuantType.QUInt16,
            weight_type=_WEIGHTS[scheme.weight_bits],
            per_channel=True,
            nodes_to_exclude=kept,
            init_overrides={
                **_activation_overrides(source, seen, scheme.headroom, set(kept)),
                **{name: [{"quant_type": QuantType.QUInt8}] for name in norm_weights(source, set(kept))},
            },
        )
        # With the ranges given, ONNX Runtime does not calibrate a second time.
        quantize_static(stored, made, calibration_cache_path=ranges, **vars(config))
        quantized = onnx.load(made)
    strip_metadata(quantized)
    return quantized


def _observed(stored: Path, reader: "_Reader", ranges: Path) -> dict[str, tuple[float, float]]:
    """Return the observed minimum and maximum of every activation, and write them to ONNX Runtime's cache file."""
    calibrator = create_calibrator(stored, augmented_model_path=str(stored.with_name("observed.onnx")))
    calibrator.collect_data(reader)
    found = calibrator.compute_data()
    save_tensors_data(found, ranges)
    return {name: data.range_value for name, data in found.items()}


def _activation_overrides(
    model: onnx.ModelProto, seen: Mapping[str, tuple[float, float]], headroom: float, kept: set[str]
) -> dict[str, list[dict[str, Any]]]:
    fixed = {name for node in model.graph.node if node.op_type in _FIXED_RANGES for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    wide = clip_ranges({name: with_margin(low, high, headroom) for name, (low, high) in seen.items()}, model.graph)
    ranges = {
        name: {"rmin": np.float32(low), "rmax": np.float32(high)}
        for name, (low, high) in wide.items()
        if name not in fixed | constants
    }
    signed = {
        name: {"convert": {"quant_type": QuantType.QInt16, "symmetric": True, "recv_nodes": products, **ranges[name]}}
        for name, products in _second_factors(model, kept).items()
        if name in ranges
    }
    return {name: [{"quant_type": QuantType.QUInt16, **held, **signed.get(name, {})}] for name, held in ranges.items()}


def _second_factors(model: onnx.ModelProto, kept: set[str]) -> dict[str, set[str]]:
    """Return the activations that are the second factor of products, with the names of the products.

    The HTP rounds a second factor of unsigned 16 bits to 8 without a word (40 dB in QNN 2.49's emulator), and computes
    with all bits of a signed one whose zero point is 0 (80 dB).
    """
    constants = constants_of(model.graph)
    found: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.name not in kept and node.input[1] not in constants:
            found.setdefault(node.input[1], set()).add(node.name)
    return found


def norm_weights(model: onnx.ModelProto, kept: set[str]) -> list[str]:
    """Return the weights of layer normalizations: the HTP refuses the whole operator where they are signed."""
    constants = {tensor.name for tensor in model.graph.initializer}
    norms = (node for node in model.graph.node if node.op_type == "LayerNormalization" and node.name not in kept)
    return sorted({node.input[1] for node in norms} & constants)


def _separate_constants(model: onnx.ModelProto, kept: set[str]) -> None:
    """Copy the constants that kept nodes share with quantized ones: a shared constant would be quantized for both.

    The HTP refuses a `Clip` whose bounds come out of a `DequantizeLinear`.
    """
    graph = model.graph
    constants = constants_of(graph)
    shared = {name for node in graph.node if node.name not in kept for name in node.input if name in constants}
    copies: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if node.name in kept and name in shared:
                if name not in copies:
                    copies[name] = f"{name}.kept"
                    graph.initializer.add().CopyFrom(constants[name])
                    graph.initializer[-1].name = copies[name]
                node.input[index] = copies[name]


class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime is untyped
    """Iterates once over samples for ONNX Runtime's calibration, and reports how many it has handed out."""

    def __init__(
        self, samples: Sequence[Mapping[str, FloatArray]], progress: Callable[[int, int], None] | None
    ) -> None:
        self._all = samples
        self._progress = progress
        self._left: Iterator[tuple[int, Mapping[str, FloatArray]]] = iter(enumerate(samples, start=1))

    def get_next(self) -> Any:  # noqa: ANN401 - onnxruntime's own signature
        """Return the next sample, or `None` after the last."""
        done, sample = next(self._left, (0, None))
        if sample is not None and self._progress is not None:
            self._progress(done, len(self._all))
        return sample
