"""ExecuTorch programs for XNNPACK, the CPU of every phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes import MemoryPlanningPass
from torch import Tensor, nn

from pocketcrafter.export.lower.base import (
    LoweredArtifact,
    Progress,
    Sample,
    Simulation,
    as_tensors,
    check_precision,
    export_stateless,
    frozen,
    hold_back,
    measured,
    run_artifact,
    run_torch,
)
from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.quantize.algorithms.rounding import NEAREST, Guidance
from pocketcrafter.quantize.torch.dynamic import quantize_linears
from pocketcrafter.quantize.torch.pt2e import quantize_static
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import XNNPACK

_WEIGHT_BITS: Final[Mapping[Precision, int]] = {Precision.W8A8_DYNAMIC: 8, Precision.A8W4_DYNAMIC: 4}
_TORCHAO: Final = "the torchao fake-quantized model in torch"
_ARTIFACT_HOW: Final = "The .pte in ExecuTorch with XNNPACK on this machine's CPU"


@dataclass(frozen=True)
class XnnpackLowering:
    """Lowers to ``executorch-xnnpack``."""

    guidance: Guidance = NEAREST

    def guided(self, guidance: Guidance) -> "XnnpackLowering":
        """Return the lowering that rounds weights by a guidance; see `pocketcrafter.export.lower.base.Guided`."""
        return XnnpackLowering(guidance)

    def lower(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> LoweredArtifact:
        """Quantize with PT2E, lower, run; see :meth:`pocketcrafter.export.lower.base.Lowering.lower`."""
        check_precision(XNNPACK, precision)
        used, held = hold_back(calibration, spec)
        eager = frozen(model, keep_fp32)
        simulated, how = eager, "the PT2E fake-quantized model in torch"
        if precision is Precision.INT8:
            inputs = [as_tensors(sample, spec) for sample in used]
            simulated = quantize_static(eager, inputs, keep_fp32=keep_fp32, progress=progress)
        elif precision in _WEIGHT_BITS:
            simulated = quantize_linears(eager, _WEIGHT_BITS[precision], keep_fp32, self.guidance)
            how = _TORCHAO
        with replacing(out) as temporary:
            coverage = _write(simulated, as_tensors(used[0], spec), temporary)
            simulation = Simulation(run_torch(simulated, held, spec), how) if simulated is not eager else None
            actual = run_artifact(ExecutorchBackend(), temporary, held, spec)
            return measured(out, coverage, spec, run_torch(eager, held, spec), simulation, actual, _ARTIFACT_HOW)


def _write(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Coverage:
    exported = export_stateless(model, inputs)
    with torch.no_grad():
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    coverage = torch_coverage(exported.graph_module, edge.exported_program().graph_module)
    # Inputs are read where the caller has them: a decoder's caches would take a fifth of its time to copy.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    path.write_bytes(edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer)
    return coverage
