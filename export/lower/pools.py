"""Spells out what exported pools leave to its default, which some toolchains miss."""

import torch
from torch.fx import GraphModule


def spell_out_pools(graph: GraphModule) -> None:
    """Write the stride of pools that leave it to its default, the kernel's size.

    coremltools 9.0 refuses them without, and ExecuTorch 1.5.1 for QNN reads past the end of their arguments.
    """
    pools = {torch.ops.aten.max_pool2d.default, torch.ops.aten.avg_pool2d.default}
    for node in graph.graph.nodes:
        if node.target in pools and len(node.args) == 2:
            node.args = (*node.args, node.args[1])
    graph.recompile()
