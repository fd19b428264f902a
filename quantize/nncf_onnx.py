"""NNCF's own quantization of ONNX models, INT8 and INT4 weights; measured beside ours, not shipped."""

import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from pocketcrafter.quantize.blocks import BLOCK
from pocketcrafter.quantize.nbits import linear_nodes, matrices_of
from pocketcrafter.quantize.qdq import WEIGHTED, inside, module_of, save_stripped
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError, ConfigError

_COMPRESSED: Final = "_compressed_matmul"
"""What NNCF puts behind the name of a layer whose weights it compresses."""


def quantize_nncf(
    fp32_onnx: Path,
    calibration: Sequence[Mapping[str, FloatArray]],
    out: Path,
    *,
    keep_fp32: tuple[str, ...] = (),
) -> None:
    """Quantize a model as NNCF does by itself: what it finds worth it, symmetric weights, fast bias correction.

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


def compress_nncf(
    fp32_onnx: Path, calibration: Sequence[Mapping[str, FloatArray]] = (), *, keep_fp32: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Round linear layers to symmetric INT4 in blocks, as NNCF's ``compress_weights`` does by itself.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote, of an opset below 21.
    calibration
        Samples of float32 inputs, by name; with them scales are estimated on activations, without on weights alone.
    keep_fp32
        Qualified names of torch modules that stay float32 with everything below them.

    Returns
    -------
    dict
        What the levels stand for, ``(N, K)`` float32, by the qualified name of the layer: without bias, of whole blocks
        of inputs.

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
    _turn_over(model, set(chosen))
    others = [node.name for node in model.graph.node if node.op_type in WEIGHTED and node.name not in chosen]
    nncf = _nncf()
    with redirect_stdout(sys.stderr):
        compressed = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=BLOCK,
            # The last layer too, and none in INT8 instead.
            all_layers=True,
            ignored_scope=nncf.IgnoredScope(names=others),
            **({"dataset": nncf.Dataset(calibration, dict), "scale_estimation": True} if calibration else {}),
        )
    matrices = matrices_of(compressed)
    return {layer: torch.from_numpy(matrices[f"{name}{_COMPRESSED}"]) for name, layer in chosen.items()}


def _turn_over(model: onnx.ModelProto, names: set[str]) -> None:
    """Write layers as products with their weights turned over: NNCF 3.4 estimates no scales of transposed ones."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in names:
            data, name = node.input
            turned = numpy_helper.to_array(weights[name]).T.copy()
            model.graph.initializer.append(numpy_helper.from_array(turned, f"{node.name}.turned"))
            product = helper.make_node("MatMul", [data, f"{node.name}.turned"], list(node.output), name=node.name)
            node.CopyFrom(product)


def _nncf() -> Any:  # noqa: ANN401 - untyped package
    # Read when NNCF is imported: without it every quantization is reported to its makers.
    os.environ.setdefault("NNCF_CI", "1")
    try:
        nncf = importlib.import_module("nncf")
    except ImportError as error:
        raise BackendError(f"NNCF is missing ({error}): pip install 'pocketcrafter[build]'.") from error
    # What it tells goes to the standard output, where our results are.
    nncf.set_log_level(logging.ERROR)
    return nncf
