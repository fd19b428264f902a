"""ExecuTorch programs for XNNPACK, the CPU of every phone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes import MemoryPlanningPass
from torch import Tensor, nn

from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.export.lower.measure import Simulation, as_tensors, hold_back, measured, run_artifact, run_torch
from pocketcrafter.export.lower.programs import export_stateless, frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.torch.dynamic import quantize_linears
from pocketcrafter.quantize.torch.pt2e import quantize_static
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import TargetKind

_WEIGHT_BITS: Final[Mapping[Precision, int]] = {Precision.W8A8_DYNAMIC: 8, Precision.A8W4_DYNAMIC: 4}
_TORCHAO: Final = "the torchao fake-quantized model in torch"
_ARTIFACT_HOW: Final = "The .pte in ExecuTorch with XNNPACK on this machine's CPU"


def lower_xnnpack(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize with PT2E, lower, run; for ``executorch-xnnpack``."""
    target, out = request.only
    spec, precision, keep_fp32 = request.spec, request.precision, request.keep_fp32
    used, held = hold_back(request.calibration, spec)
    eager = frozen(request.module(), keep_fp32)
    simulated, how = eager, "the PT2E fake-quantized model in torch"
    if precision is Precision.INT8:
        inputs = [as_tensors(sample, spec) for sample in used]
        simulated = quantize_static(eager, inputs, keep_fp32=keep_fp32, progress=request.progress)
    elif precision in _WEIGHT_BITS:
        simulated = quantize_linears(eager, _WEIGHT_BITS[precision], keep_fp32, request.guidance)
        how = _TORCHAO
    with replacing(out) as temporary:
        coverage = _write(simulated, as_tensors(used[0], spec), temporary)
        simulation = Simulation(run_torch(simulated, held, spec), how) if simulated is not eager else None
        actual = run_artifact(ExecutorchBackend(), temporary, held, spec)
        reference = run_torch(eager, held, spec)
        return {target: measured(out, coverage, spec, reference, simulation, actual, _ARTIFACT_HOW)}


def _write(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Coverage:
    exported = export_stateless(model, inputs)
    with torch.no_grad():
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    coverage = torch_coverage(exported.graph_module, edge.exported_program().graph_module)
    # Inputs are read where the caller has them: a decoder's caches would take a fifth of its time to copy.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    path.write_bytes(edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer)
    return coverage
