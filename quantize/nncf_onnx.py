"""Static INT8 quantization of ONNX models by NNCF, with bias correction; measured beside our own, not shipped."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from pocketcrafter.quantize.qdq import inside, save_stripped
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError, ConfigError


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
    quantized = nncf.quantize(
        model,
        nncf.Dataset(calibration, dict),
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
    )
    save_stripped(quantized, out)


def _nncf() -> Any:  # noqa: ANN401 - untyped package
    # Read when NNCF is imported: without it every quantization is reported to its makers.
    os.environ.setdefault("NNCF_CI", "1")
    try:
        return importlib.import_module("nncf")
    except ImportError as error:
        raise BackendError(f"NNCF is missing ({error}): pip install 'pocketcrafter[build]'.") from error
