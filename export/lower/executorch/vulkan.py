"""ExecuTorch programs for Vulkan, the graphics processor of Android phones: lowered here, run on a phone only."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn
from torch.fx import GraphModule

from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.export.lower.measure import as_tensors, compare, hold_back, run_torch
from pocketcrafter.export.lower.programs import export_stateless, frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.bundle.results import Coverage
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import TargetKind

_aten = torch.ops.aten

PARTITION_GATE_DB: Final = 100.0
"""The graph that was cut up for Vulkan must still be the network, up to float rounding."""

_OPTIONS: Final = {"force_fp16": True}


def lower_vulkan(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Cut up and lower; for ``executorch-vulkan``.

    ``fp16`` computes in float16 throughout, with float32 at the edges; ``keep_fp32`` has no say in it. ExecuTorch's
    package for this machine has no Vulkan to run the artifact with: rung 2 stays open, and says so. What can be checked
    is: the cut-up graph, run in torch, must be the network.

    ``fp32`` is the program of `executorch-xnnpack`, for the phone's CPU: a network that needs float32 may have what
    Vulkan lacks besides, convolutions over a batch for one.

    Raises
    ------
    GateError
        If the cut-up graph is not the network.
    """
    target, out = request.only
    spec = request.spec
    used, held = hold_back(request.calibration, spec)
    eager = frozen(request.module(), request.keep_fp32)
    with replacing(out) as temporary:
        cut, coverage = _write(eager, as_tensors(used[0], spec), temporary)
        ratio = _ratio_db(eager, cut, held[:1], request)
    request.progress(1, 1)
    how = (
        "ExecuTorch's package for this machine runs no Vulkan; a phone must. The graph as it was cut up "
        f"for Vulkan was run in torch: {ratio} from eager torch in full precision"
    )
    return {target: LoweredArtifact(path=out, coverage=coverage, rung1=(), rung1_how="", rung2=(), rung2_how=how)}


def _ratio_db(eager: nn.Module, cut: nn.Module, samples: Sequence[Sample], request: LoweringRequest) -> str:
    spec, worst = request.spec, None
    for fidelity in compare(samples, run_torch(eager, samples, spec), run_torch(cut, samples, spec), spec):
        if not fidelity.reaches(PARTITION_GATE_DB):
            raise GateError(
                f"{spec.name} for {TargetKind('executorch-vulkan')}: cut up for Vulkan, `{fidelity.output}` is "
                f"{fidelity.sqnr_db:.1f} dB from the network (needed: {PARTITION_GATE_DB:.0f} dB)."
            )
        if fidelity.sqnr_db is not None:
            worst = min(worst or fidelity.sqnr_db, fidelity.sqnr_db)
    return "identical to the bit, not apart" if worst is None else f"{worst:.0f} dB"


def _write(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> tuple[nn.Module, Coverage]:
    exported = export_stateless(model, inputs)
    with torch.no_grad():
        _with_tens(exported.graph_module)
        edge = to_edge_transform_and_lower(exported, partitioner=[VulkanPartitioner(dict(_OPTIONS))])
    lowered = edge.exported_program()
    coverage = torch_coverage(exported.graph_module, lowered.graph_module, "Vulkan")
    cut: nn.Module = lowered.module()
    path.write_bytes(edge.to_executorch().buffer)
    return cut, coverage


def _with_tens(graph: GraphModule) -> None:
    """Write natural logarithms as those to base ten, the only ones that Vulkan has."""
    for node in list(graph.graph.nodes):
        if node.target is not _aten.log.default:
            continue
        with graph.graph.inserting_after(node):
            ten = graph.graph.call_function(_aten.log10.default, node.args)
        with graph.graph.inserting_after(ten):
            scaled = graph.graph.call_function(_aten.mul.Tensor, (ten, math.log(10)))
        ten.meta, scaled.meta = dict(node.meta), dict(node.meta)
        node.replace_all_uses_with(scaled)
        graph.graph.erase_node(node)
    graph.recompile()
