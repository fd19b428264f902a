"""Pixel shuffles written out as reshapes and a permutation, for engines that have no INT8 operator of their own."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_SHUFFLE: Final = _aten.pixel_shuffle.default
_UNSHUFFLE: Final = _aten.pixel_unshuffle.default
_PERMUTATIONS: Final = {_SHUFFLE: (0, 1, 4, 2, 5, 3), _UNSHUFFLE: (0, 1, 3, 5, 2, 4)}


def write_out_shuffles(model: GraphModule) -> GraphModule:
    """Replace every pixel shuffle and unshuffle of an exported graph by reshape, permute, reshape, in place.

    Parameters
    ----------
    model
        As `torch.export` makes it: nodes know the shapes of their results, and shapes are static.
    """
    for target, permutation in _PERMUTATIONS.items():
        for node in model.graph.find_nodes(op="call_function", target=target):
            _write_out(model, node, permutation)
    model.recompile()
    return model


def _write_out(model: GraphModule, node: Node, permutation: Sequence[int]) -> None:
    source, factor = node.args
    if not isinstance(source, Node) or not isinstance(factor, int):
        raise TypeError(f"{node.name}: not a shuffle as torch.export writes it.")
    batch, channels, height, width = source.meta["val"].shape
    split = (
        (batch, channels // factor**2, factor, factor, height, width)
        if node.target is _SHUFFLE
        else (batch, channels, height // factor, factor, width // factor, factor)
    )
    result: Tensor = node.meta["val"]
    steps = (
        (_aten.reshape.default, split),
        (_aten.permute.default, permutation),
        (_aten.reshape.default, result.shape),
    )
    last, value = source, source.meta["val"]
    with model.graph.inserting_before(node):
        for target, argument in steps:
            last = model.graph.call_function(target, (last, list(argument)))
            value = target(value, list(argument))
            last.meta = {**node.meta, "val": value}
    node.replace_all_uses_with(last)
    model.graph.erase_node(node)
