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
from pocketcrafter.export.lower.measure import (
    Simulation,
    as_tensors,
    function_samples,
    hold_back,
    measured,
    run_functions,
    run_torch,
    with_functions,
)
from pocketcrafter.export.lower.programs import export_stateless, frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.base import checked_inputs
from pocketcrafter.runtime.backends.executorch import METHOD, ExecutorchBackend
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
    measured_with = function_samples(held, spec, request.functions)
    with replacing(out) as temporary:
        inputs = {name: as_tensors(given[0], about) for name, (about, given) in measured_with.items()}
        coverage = _write(simulated, inputs, temporary)
        actual = run_functions(ExecutorchBackend(), temporary, measured_with)
        made: dict[str | None, LoweredArtifact] = {}
        for name, (about, given) in measured_with.items():
            simulation = Simulation(run_torch(simulated, given, about), how) if simulated is not eager else None
            reference = run_torch(eager, given, about)
            made[name] = measured(out, coverage, about, given, reference, simulation, actual[name], _ARTIFACT_HOW)
        default = made.pop(None)
        return {target: with_functions(default, {f"{name}": found for name, found in made.items()}, spec)}


def _write(model: nn.Module, inputs: Mapping[str | None, tuple[Tensor, ...]], path: Path) -> Coverage:
    """Write a program with a method for each function: equal weights are stored once."""
    programs = {name or METHOD: export_stateless(model, given) for name, given in inputs.items()}
    with torch.no_grad():
        edge = to_edge_transform_and_lower(programs, partitioner={name: [XnnpackPartitioner()] for name in programs})
    coverage = torch_coverage(programs[METHOD].graph_module, edge.exported_program(METHOD).graph_module)
    # Inputs are read where the caller has them: a decoder's caches would take a fifth of its time to copy.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    program = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
    with path.open("wb") as stream:
        program.write_to_file(stream)
    return coverage
