"""ExecuTorch programs for Core ML: the package inside is proved in the MIL interpreter, without a Mac."""

import importlib
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn

from pocketcrafter.export.lower.coreml.convert import coremltools, quiet, rarely_validated
from pocketcrafter.export.lower.coreml.coverage import coreml_coverage
from pocketcrafter.export.lower.coreml.lowering import check_conversion
from pocketcrafter.export.lower.coreml.session import extract_package, open_package, run_package
from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.export.lower.measure import (
    ROUNDED,
    SLOWLY,
    Simulation,
    as_tensors,
    compare,
    hold_back,
    measured,
    run_torch,
)
from pocketcrafter.export.lower.mil_interpreter import Mode, read_package
from pocketcrafter.export.lower.programs import export_stateless, frozen, spell_out_gelus, spell_out_pools
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.config import CompressedWeights, QuantizationConfig, WeightGrid
from pocketcrafter.quantize.torch.compressed_weights import SMALLEST
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import TargetKind

_ARTIFACT_HOW: Final = (
    "The .mlpackage out of the .pte in the MIL interpreter, every layer rounded to its declared type "
    "(the package, not Apple's kernels)"
)


def lower_executorch_coreml(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Lower, take the package out again, interpret; for ``executorch-coreml``.

    ``fp16`` computes in float16, ``fp32`` in float32, which the Neural Engine does not run. ``int8`` and ``w4`` store
    the weights of convolutions and linear layers in fewer bits besides float16 arithmetic, as packages of `coreml` do,
    but for layers without whole blocks, which ``w4`` leaves in float16; nothing is calibrated. As for them, the network
    is lowered in float32 first and must be itself.

    Raises
    ------
    GateError
        If the float32 package is not the network.
    ConfigError
        If modules are to keep their weights beside quantized ones: ExecuTorch has no way to name them.
    BackendError
        If coremltools cannot convert the network, or a part of it is left outside the package.
    """
    target, out = request.only
    spec, precision, keep_fp32 = request.spec, request.precision, request.keep_fp32
    scheme = request.scheme(target)
    if scheme is not None and keep_fp32:
        raise ConfigError(
            f"{target} cannot keep {', '.join(keep_fp32)} beside {precision} weights: "
            "ExecuTorch compresses all of a network. Build this component in fp16, or for coreml:ios18."
        )
    used, held = hold_back(request.calibration, spec, SLOWLY)
    eager = frozen(request.module(), keep_fp32)
    simulated = eager if scheme is None else quantize(eager, scheme)
    with replacing(out) as temporary:
        coverage = _write(eager, as_tensors(used[0], spec), temporary, half=False)
        exact = open_package(temporary, spec, Mode.FP32).run(held[0])
        check_conversion(compare(held[:1], run_torch(eager, held[:1], spec), [exact], spec), spec, target)
        if precision is not Precision.FP32:
            coverage = _write(simulated, as_tensors(used[0], spec), temporary, half=True, scheme=scheme)
        actual = run_package(temporary, held, spec)
        simulation = Simulation(run_torch(simulated, held, spec), ROUNDED) if scheme is not None else None
        result = measured(out, coverage, spec, held, run_torch(eager, held, spec), simulation, actual, _ARTIFACT_HOW)
    request.progress(1, 1)
    return {target: result}


def _write(
    model: nn.Module, inputs: tuple[Tensor, ...], path: Path, *, half: bool, scheme: QuantizationConfig | None = None
) -> Coverage:
    exported = export_stateless(model, inputs)
    with torch.no_grad(), quiet(), rarely_validated():
        spell_out_pools(exported.graph_module)
        spell_out_gelus(exported.graph_module)
        try:
            edge = to_edge_transform_and_lower(exported, partitioner=[_partitioner(scheme, half=half)])
            path.write_bytes(edge.to_executorch().buffer)
        except Exception as error:  # coremltools raises whatever its passes raise
            raise BackendError(f"ExecuTorch cannot lower for Core ML: {type(error).__name__}: {error}") from error
    outside = torch_coverage(exported.graph_module, edge.exported_program().graph_module, "Core ML")
    if outside.fallbacks:
        return outside
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-coreml-") as name:
        function = read_package(extract_package(path, Path(name)).package).function()
        return coreml_coverage(function, half=half)


def _partitioner(scheme: QuantizationConfig | None, *, half: bool) -> Any:  # noqa: ANN401 - untyped package
    ct = coremltools()
    backend = importlib.import_module("executorch.backends.apple.coreml.compiler").CoreMLBackend
    partition = importlib.import_module("executorch.backends.apple.coreml.partition").CoreMLPartitioner
    quantizer: dict[str, str | int] | None = None
    grouped = False
    if isinstance(scheme, CompressedWeights):
        grouped = scheme.grid is WeightGrid.INT4
        quantizer = {"mode": "linear_symmetric", "weight_threshold": SMALLEST - 1}
        if grouped:
            quantizer |= {"dtype": "int4", "granularity": "per_block", "block_size": scheme.group_size}
        else:
            quantizer |= {"dtype": "int8", "granularity": "per_channel"}
    return partition(
        compile_specs=backend.generate_compile_specs(
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            compute_unit=ct.ComputeUnit.CPU_AND_NE,
            minimum_deployment_target=ct.target.iOS18 if grouped else ct.target.iOS17,
            model_type=backend.MODEL_TYPE.MODEL,
            op_linear_quantizer_config=quantizer,
        ),
        take_over_mutable_buffer=False,
    )
