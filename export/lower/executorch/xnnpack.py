"""ExecuTorch programs for XNNPACK, the CPU of every phone."""

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
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.backends.tensors import checked_inputs
from pocketcrafter.runtime.bundle.results import Coverage
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import XNNPACK, TargetKind

_PT2E: Final = "the PT2E fake-quantized model in torch"
_TORCHAO: Final = "the torchao fake-quantized model in torch"
_ARTIFACT_HOW: Final = "The .pte in ExecuTorch with XNNPACK on this machine's CPU"


def lower_xnnpack(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize with PT2E, lower, run; for ``executorch-xnnpack``."""
    target, out = request.only
    spec, scheme = request.spec, request.scheme(XNNPACK)
    used, held = hold_back(request.calibration, spec)
    simulated = eager = frozen(request.module(), request.keep_fp32)
    if scheme is not None:
        # Checked against the spec, and in its order.
        samples = [checked_inputs(sample, spec) for sample in used]
        simulated = quantize(eager, scheme, Calibration(samples, request.hessians), request.progress)
    how = _PT2E if isinstance(scheme, StaticInt8) else _TORCHAO
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
