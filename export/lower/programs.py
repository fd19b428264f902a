"""From a network to the program that a toolchain takes: frozen, exported, without state, with arguments spelled out."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import Argument

from pocketcrafter.quantize.modules import check_modules
from pocketcrafter.quantize.torch.folding import fold_batchnorm
from pocketcrafter.runtime.errors import ConfigError

_GELU_CUBIC: Final = 0.044715
"""Of the approximation of GELU (Hendrycks & Gimpel, 2016)."""


def frozen(model: nn.Module, keep_fp32: tuple[str, ...]) -> nn.Module:
    """Return a copy for inference: BatchNorm folded, in evaluation mode, nothing trainable."""
    check_modules(model, keep_fp32)
    return fold_batchnorm(model).requires_grad_(False)


def export_stateless(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Export a network for ExecuTorch.

    Parameters
    ----------
    model
        In evaluation mode, nothing trainable.
    inputs
        In calling order.

    Raises
    ------
    ConfigError
        If it keeps something from run to run: a program forgets what such a buffer starts with, and another method of
        the same program writes over it, without a word.
    """
    with torch.no_grad():
        program = torch.export.export(model, inputs)
    if changed := sorted(written_buffers(program)):
        raise ConfigError(
            f"{type(model).__name__} writes into {', '.join(f'`{name}`' for name in changed)} while it runs, and a "
            "program would start with zeros there: hand it in and out instead, as the decoder's caches are."
        )
    return program


def written_buffers(program: ExportedProgram) -> set[str]:
    """Return the buffers that operators write into; a program's signature tells only once it is functionalized."""
    buffers = program.graph_signature.inputs_to_buffers
    found = set()
    for node in program.graph.nodes:
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        for argument, value in zip(arguments, node.args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                while isinstance(value, Node) and value.op == "call_function":
                    value = value.args[0]  # noqa: PLW2901 - up to what the view is of
                if isinstance(value, Node) and value.name in buffers:
                    found.add(buffers[value.name])
    return found


def spell_out_pools(graph: GraphModule) -> None:
    """Write the stride of pools that leave it to its default, the kernel's size.

    coremltools 9.0 refuses them without, and ExecuTorch 1.5.1 for QNN reads past the end of their arguments.
    """
    pools = {torch.ops.aten.max_pool2d.default, torch.ops.aten.avg_pool2d.default}
    for node in graph.graph.nodes:
        if node.target in pools and len(node.args) == 2:
            node.args = (*node.args, node.args[1])
    graph.recompile()


def spell_out_gelus(graph: GraphModule, *, powers: bool = True) -> bool:
    """Write GELU's approximation by a hyperbolic tangent in the arithmetic that it stands for; return whether any was.

    coremltools 9.0 drops the argument and computes the exact GELU, without a word; the arithmetic it fuses into its own
    operator of the right mode. XNNPACK computes the exact one too.

    Parameters
    ----------
    graph
        Changed in place.
    powers
        Whether the cube is one operator, by which coremltools knows the arithmetic; XNNPACK has none.
    """
    found = [
        node
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.gelu.default and node.kwargs.get("approximate") == "tanh"
    ]
    for node in found:
        _spell_out_gelu(graph, node, powers=powers)
    graph.recompile()
    return bool(found)


def _spell_out_gelu(graph: GraphModule, node: Node, *, powers: bool) -> None:
    (x,) = node.args

    def call(operator: OpOverload, *given: Argument) -> Node:
        made = graph.graph.call_function(operator, given)
        made.meta = dict(node.meta)  # all of them have its shape
        return made

    aten = torch.ops.aten
    with graph.graph.inserting_before(node):
        cube = call(aten.pow.Tensor_Scalar, x, 3) if powers else call(aten.mul.Tensor, call(aten.mul.Tensor, x, x), x)
        cubic = call(aten.mul.Tensor, cube, _GELU_CUBIC)
        inner = call(aten.mul.Tensor, call(aten.add.Tensor, x, cubic), math.sqrt(2 / math.pi))
        outer = call(aten.add.Tensor, call(aten.tanh.default, inner), 1)
        written = call(aten.mul.Tensor, call(aten.mul.Tensor, x, 0.5), outer)
    name = node.name
    node.replace_all_uses_with(written)
    graph.graph.erase_node(node)
    written.name = name  # a program's signature tells its outputs by name
