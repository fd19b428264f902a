"""NNCF's quantization of ONNX models, static INT8 and INT4 weights: a baseline for benchmarks, never shipped."""

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE
from pocketcrafter.quantize.onnx.graph import WEIGHTED, constants_of, inside, module_of, save_stripped
from pocketcrafter.quantize.onnx.matmul_nbits import linear_nodes, matrices_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db

_NUMBER: Final = "number of the sample"
_EQUAL_DB: Final = 120.0
"""The SQNR that an identical output counts as."""
_COMPRESSED: Final = "_compressed_matmul"
"""What NNCF appends to the name of a layer whose weights it compresses."""


def quantize_nncf(
    fp32_onnx: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    out: Path,
    *,
    keep_fp32: tuple[str, ...] = (),
) -> None:
    """Quantize a model with NNCF's defaults: symmetric weights, fast bias correction, its own choice of layers.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, with static shapes.
    calibration
        At least one sample of float32 inputs, by name.
    out
        Where the quantized model goes, without the exporter's metadata; written under a temporary name first.
    keep_fp32
        Qualified names of torch modules that stay float32 with everything below them.

    Raises
    ------
    ConfigError
        If there is no calibration sample.
    BackendError
        If NNCF is missing.
    """
    if not calibration:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    nncf = _nncf()
    model = onnx.load(fp32_onnx)
    kept = [node.name for node in model.graph.node if inside(node, keep_fp32)]
    with redirect_stdout(sys.stderr):
        quantized = nncf.quantize(
            model,
            nncf.Dataset(calibration, dict),
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
        )
    save_stripped(quantized, out)


def quantize_nncf_controlled(
    fp32_onnx: Path, calibration: Sequence[Mapping[str, FloatArray]], out: Path, *, least_db: float, judged: int = 4
) -> tuple[str, ...]:
    """Quantize a model with NNCF's accuracy control, which reverts layers to float32 until outputs are accurate enough.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, with static shapes.
    calibration
        Samples of float32 inputs, by name; accuracy is evaluated on the last ones, the others calibrate.
    out
        Where the quantized model goes, without the exporter's metadata; written under a temporary name first.
    least_db
        The SQNR in decibels that the outputs must reach.
    judged
        How many samples accuracy is evaluated on.

    Returns
    -------
    tuple of str
        Torch modules whose layers were reverted to float32, in graph order.

    Raises
    ------
    ConfigError
        If no sample is left to calibrate with.
    BackendError
        If NNCF is missing, or gives up.
    """
    if len(calibration) <= judged:
        raise ConfigError(
            f"Accuracy is evaluated on {judged} samples and others must calibrate: got {len(calibration)} in all."
        )
    nncf = _nncf()
    model = onnx.load(fp32_onnx)
    references: dict[int, list[FloatArray]] = {}
    numbered = [{**sample, _NUMBER: number} for number, sample in enumerate(calibration[-judged:])]

    def mean_sqnr(tried: onnx.ModelProto, samples: Iterable[Mapping[str, Any]]) -> tuple[float, list[float]]:
        session = open_session(tried.SerializeToString())
        ratios = []
        for sample in samples:
            outputs = session.run(None, {name: value for name, value in sample.items() if name != _NUMBER})
            # NNCF evaluates the float model first: its outputs are the reference for the others.
            expected = references.setdefault(sample[_NUMBER], outputs)
            ratios.append(min(min(sqnr_db(e, o), _EQUAL_DB) for e, o in zip(expected, outputs, strict=True)))
        return sum(ratios) / len(ratios), ratios

    try:
        with redirect_stdout(sys.stderr):
            quantized = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset(calibration[:-judged], dict),
                nncf.Dataset(numbered, lambda sample: {n: v for n, v in sample.items() if n != _NUMBER}),
                mean_sqnr,
                max_drop=_EQUAL_DB - least_db,
                subset_size=len(calibration) - judged,
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    ranking_subset_size=judged, num_ranking_workers=1
                ),
            )
    except nncf.InternalError as error:
        raise BackendError(f"NNCF gave up on {fp32_onnx}: {error}") from error
    stored = {tensor.name for tensor in quantized.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    layers = [node for node in quantized.graph.node if node.op_type in WEIGHTED]
    back = tuple(dict.fromkeys(module_of(node) for node in layers if node.input[1] in stored))
    save_stripped(quantized, out)
    return back


def compress_nncf(
    fp32_onnx: Path, calibration: Sequence[Mapping[str, FloatArray]] = (), *, keep_fp32: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Round linear layers to symmetric INT4 in groups with the defaults of NNCF's ``compress_weights``.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, of an opset below 21.
    calibration
        Samples of float32 inputs, by name. With samples, scales minimize the error of outputs, else that of weights.
    keep_fp32
        Qualified names of torch modules that stay float32 with everything below them.

    Returns
    -------
    dict
        Dequantized weights, ``(N, K)`` float32, by the qualified name of each layer without bias whose number of inputs
        is a multiple of 32.

    Raises
    ------
    ConfigError
        If there is no layer to quantize.
    BackendError
        If NNCF is missing.
    """
    model = onnx.load(fp32_onnx)
    chosen = {node.name: module_of(node) for node in linear_nodes(model) if not inside(node, keep_fp32)}
    if not chosen:
        raise ConfigError(f"{fp32_onnx}: no linear layer is left to quantize; keep fewer modules in float32.")
    _transpose(model, set(chosen))
    others = [node.name for node in model.graph.node if node.op_type in WEIGHTED and node.name not in chosen]
    nncf = _nncf()
    with redirect_stdout(sys.stderr):
        compressed = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=GROUP_SIZE,
            # By default NNCF leaves the last layer in INT8.
            all_layers=True,
            ignored_scope=nncf.IgnoredScope(names=others),
            **({"dataset": nncf.Dataset(calibration, dict), "scale_estimation": True} if calibration else {}),
        )
    matrices = matrices_of(compressed)
    return {layer: torch.from_numpy(matrices[f"{name}{_COMPRESSED}"]) for name, layer in chosen.items()}


def _transpose(model: onnx.ModelProto, names: set[str]) -> None:
    """Rewrite layers as `MatMul` with transposed weights: NNCF 3.4 estimates no scales for a `Gemm` with ``transB``."""
    weights = constants_of(model.graph)
    for node in model.graph.node:
        if node.name in names:
            data, name = node.input
            transposed = numpy_helper.to_array(weights[name]).T.copy()
            model.graph.initializer.append(numpy_helper.from_array(transposed, f"{node.name}.transposed"))
            product = helper.make_node("MatMul", [data, f"{node.name}.transposed"], list(node.output), name=node.name)
            node.CopyFrom(product)


def _nncf() -> Any:  # noqa: ANN401 - untyped package
    # NNCF reads this when it is imported: without it every quantization is reported to its vendor (telemetry).
    os.environ.setdefault("NNCF_CI", "1")
    try:
        nncf = importlib.import_module("nncf")
    except ImportError as error:
        raise BackendError(f"NNCF is missing ({error}): pip install 'pocketcrafter[build]'.") from error
    # NNCF logs to the standard output, where commands print their results.
    nncf.set_log_level(logging.ERROR)
    return nncf
