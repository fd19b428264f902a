"""INT8 or INT4 weights and 16-bit activations, which Hexagon processors compute in integers from end to end."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

from pocketcrafter.quantize.algorithms.ranges import HEADROOM, widened
from pocketcrafter.quantize.onnx.graph import constants_of, inside, save_stripped
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

_FIXED: Final = frozenset({"Sigmoid", "Softmax", "Tanh"})
"""Operators whose results have ranges of their own on the HTP."""
_WEIGHTS: Final[Mapping[int, QuantType]] = {8: QuantType.QInt8, 4: QuantType.QInt4}


def quantize_sixteen(
    fp32_onnx: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    out: Path,
    *,
    bits: int = 8,
    keep_fp32: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Quantize every operator of an ONNX model: weights by output channel, activations unsigned 16-bit per tensor.

    Unlike :func:`pocketcrafter.quantize.onnx.qdq.quantize_onnx` it leaves nothing between the layers in floating point:
    with 16 bits the picture's own residual loses less than in float16, which is what the HTP has instead of float32.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, with static shapes.
    calibration
        At least one sample of float32 inputs, by name.
    out
        Where the quantized model goes, without the exporter's metadata; written under a temporary name first.
    bits
        Of the weights, 8 or 4.
    keep_fp32
        Qualified names of torch modules that are not quantized, with everything below them; the HTP runs them in
        float16.
    progress
        Called with samples read and samples in all.

    Raises
    ------
    ConfigError
        If there is no calibration sample.
    """
    if not calibration:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    model = onnx.load(fp32_onnx)
    kept = [node.name for node in model.graph.node if inside(node, keep_fp32)]
    _part_constants(model, set(kept))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        parted, ranges, temporary = (Path(folder) / name for name in ("parted.onnx", "ranges.json", out.name))
        onnx.save(model, parted)
        reader = _Reader(calibration, progress)
        seen = _observed(parted, reader, ranges)
        config = get_qnn_qdq_config(
            parted,
            reader,
            activation_type=QuantType.QUInt16,
            weight_type=_WEIGHTS[bits],
            per_channel=True,
            nodes_to_exclude=kept,
            init_overrides={
                **_wide_ranges(model, seen),
                **{name: [{"quant_type": QuantType.QUInt8}] for name in norm_weights(model, set(kept))},
            },
        )
        # What was seen is known: ONNX Runtime need not calibrate a second time.
        quantize_static(parted, temporary, calibration_cache_path=ranges, **vars(config))
        save_stripped(onnx.load(temporary), out)


def _observed(stored: Path, reader: "_Reader", ranges: Path) -> dict[str, tuple[float, float]]:
    """Return what every activation of a stored model ranges over, and write it where ONNX Runtime reads it."""
    calibrator = create_calibrator(stored, augmented_model_path=str(stored.with_name("observed.onnx")))
    calibrator.collect_data(reader)
    found = calibrator.compute_data()
    save_tensors_data(found, ranges)
    return {name: data.range_value for name, data in found.items()}


def _wide_ranges(model: onnx.ModelProto, seen: Mapping[str, tuple[float, float]]) -> dict[str, list[dict[str, Any]]]:
    """Return the range of every activation with room for what calibration did not see."""
    fixed = {name for node in model.graph.node if node.op_type in _FIXED for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    wide = {name: widened(low, high, HEADROOM) for name, (low, high) in seen.items()}
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in wide.items()
        if name not in fixed | constants
    }


def norm_weights(model: onnx.ModelProto, kept: set[str]) -> list[str]:
    """Return the weights of layer normalizations: the HTP refuses the whole operator where they are signed."""
    constants = {tensor.name for tensor in model.graph.initializer}
    norms = (node for node in model.graph.node if node.op_type == "LayerNormalization" and node.name not in kept)
    return sorted({node.input[1] for node in norms} & constants)


def _part_constants(model: onnx.ModelProto, kept: set[str]) -> None:
    """Give the kept nodes constants of their own: a shared one would be quantized for both.

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
    """Hands samples to ONNX Runtime's calibration, once, and tells how many it took."""

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
