"""Counts multiply-accumulates of torch graphs, and names what a delegate left outside."""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch.fx import GraphModule, Node

from pocketcrafter.runtime.bundle.results import Coverage, Fallback

_REASON_CHARS: Final = 500
_FREE: Final = {
    "dim_order_ops._to_dim_order_copy.default": "settles the memory order of a constant or an input; computes nothing",
    "aten.full.default": "fills a constant; computes nothing",
}
"""What stays outside in every program and costs nothing."""

_REWRITES: Final = {
    "aten.mean.dim": "mean over (2, 3) with keepdim=True, then reshape",
    "aten.sum.dim_IntList": "mean over (2, 3) with keepdim=True, times the count",
    "aten.amax.default": "max_pool2d over the whole map",
    "aten.var.correction": "the mean of squared differences",
    "aten._adaptive_avg_pool2d.default": "avg_pool2d with a fixed window",
    "aten.avg_pool2d.default": "avg_pool2d without padding",
    "aten.upsample_nearest2d.vec": "pixel_shuffle, or bilinear",
    "aten.split_with_sizes_copy.default": "slices, or two layers",
    "aten.slice_copy.Tensor": "a strided convolution or pixel_unshuffle, where the step is not 1",
    "aten.expand_copy.default": "broadcasting in the operator that reads it",
    "aten.repeat.default": "broadcasting in the operator that reads it",
    "aten.native_layer_norm.default": "no normalization, or BatchNorm folded into its convolution",
    "aten.native_group_norm.default": "no normalization, or BatchNorm folded into its convolution",
    "aten._softmax.default": "softmax over the last axis",
}


def macs(graph: GraphModule) -> int:
    """Return the multiply-accumulates of all convolutions and matrix products of a graph with shapes."""
    return sum(macs_of(node) for node in graph.graph.nodes)


def torch_coverage(whole: GraphModule, lowered: GraphModule, engine: str = "XNNPACK") -> Coverage:
    """Compare a graph before lowering with what is left of it after.

    Parameters
    ----------
    whole
        The exported graph.
    lowered
        The edge graph whose delegated parts are single calls.
    engine
        What the parts were delegated to, in words.
    """
    outside = defaultdict(list)
    delegates = 0
    for node in lowered.graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.higher_order.executorch_call_delegate:
            delegates += 1
        elif node.op == "call_function" and isinstance(node.target, _edge_op()):
            outside[_name(node)].append(node)
    total = macs(whole)
    left = sum(macs_of(node) for nodes in outside.values() for node in nodes)
    return Coverage(
        macs_total=total,
        macs_delegated=max(0, total - left),
        delegated_ops=sum(_delegated_ops(lowered)),
        subgraphs=delegates,
        fallbacks=tuple(_fallback(name, nodes, engine) for name, nodes in sorted(outside.items())),
    )


def _edge_op() -> tuple[type, ...]:
    from executorch.exir.dialects.edge._ops import EdgeOpOverload  # noqa: PLC0415 - slow, and only lowering needs it

    return (EdgeOpOverload, torch._ops.OpOverload)


def _delegated_ops(lowered: GraphModule) -> Iterator[int]:
    for name, module in lowered.named_children():
        if name.startswith("lowered_module"):
            original: Any = module.original_module
            yield sum(n.op == "call_function" for n in original.graph_module.graph.nodes)


def _fallback(name: str, nodes: list[Node], engine: str) -> Fallback:
    if name in _FREE:
        return Fallback(op=name, count=len(nodes), reason=_FREE[name], allowed=True)
    where = dict.fromkeys(_layer(node) for node in nodes)
    help_ = f"; write it as {_REWRITES[name]}" if name in _REWRITES else ""
    reason = f"{engine} does not take it{help_}; in {', '.join(where)}"
    return Fallback(op=name, count=len(nodes), reason=reason[:_REASON_CHARS], allowed=False)


def _layer(node: Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    module = (stack[-1][0] if stack else "") or "the model's own forward"
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    return f"{module} ({lines[-1][:80]})" if lines else str(module)


def _name(node: Node) -> str:
    inner = getattr(node.target, "_op", None)  # an edge operator wraps an ATen one, an ATen one a builtin
    return str(inner if isinstance(inner, torch._ops.OpOverload) else node.target)


_CONVOLUTIONS: Final = ("aten.conv2d", "aten.conv1d", "aten.convolution", "aten.conv_transpose2d")
_PRODUCTS: Final = ("aten.linear", "aten.addmm", "aten.mm", "aten.bmm", "aten.matmul")


def macs_of(node: Node) -> int:
    """Return the multiply-accumulates of one node with shapes; 0 for what is no convolution or matrix product."""
    if node.op != "call_function":
        return 0
    name = _name(node)
    if name.startswith(_CONVOLUTIONS):
        data, weight = _shape(node.args[0]), _shape(node.args[1])
        transposed = "transpose" in name or (name.startswith("aten.convolution") and bool(node.args[6]))
        # A transposed convolution spreads each input value; any other gathers for each output value.
        places = data if transposed else _shape(node)
        return math.prod(places) * math.prod(weight[1:])
    if name.startswith(_PRODUCTS):
        data = _shape(node.args[1] if "addmm" in name else node.args[0])
        return math.prod(_shape(node)) * data[-1]
    return 0


def _shape(node: Any) -> tuple[int, ...]:  # noqa: ANN401 - an fx argument
    return tuple(int(size) for size in node.meta["val"].shape)
