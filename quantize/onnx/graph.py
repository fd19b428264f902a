"""ONNX graphs: producers and consumers of values, the torch modules that nodes come from, pruning and saving."""

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, SupportsFloat

import onnx
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.files import replacing

WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""The operators that multiply by weights."""
REMOVABLE: Final = frozenset({"Relu", "Clip"})
"""The operators that a quantized range can stand for."""
_SCOPES: Final = "pkg.torch.onnx.name_scopes"

Readers = dict[str, list[NodeProto]]


def constants_of(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the graph's initializers by name; the objects themselves, not copies."""
    return {tensor.name: tensor for tensor in graph.initializer}


def makers_of(graph: GraphProto) -> dict[str, NodeProto]:
    """Return the node that produces each value."""
    return {name: node for node in graph.node for name in node.output}


def readers_of(graph: GraphProto) -> Readers:
    """Return the nodes that consume each value, in graph order; graph outputs are not counted as consumers."""
    readers: Readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def clip_ranges(
    ranges: Mapping[str, tuple[SupportsFloat, SupportsFloat]], graph: GraphProto
) -> dict[str, tuple[float, float]]:
    """Return ranges of which none exceeds the bounds of the `Relu` or `Clip` that makes its value.

    ONNX Runtime's quantizers remove these operators, whatever range their output has: the range has to clip in their
    place. A margin would let values through that the network cuts off.

    Parameters
    ----------
    ranges
        Smallest and largest value, 0 between them, by the name of the value.
    graph
        Bounds that are computed are not known, and change nothing.
    """
    constants = constants_of(graph)
    clipped = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
    for node in graph.node:
        if node.op_type not in REMOVABLE or node.output[0] not in ranges:
            continue
        names = (*node.input[1:], "", "")[:2]
        bounds = [numpy_helper.to_array(constants[name]).item() if name in constants else None for name in names]
        least, most = (0.0, None) if node.op_type == "Relu" else bounds
        low, high = clipped[node.output[0]]
        low = low if least is None else max(low, min(least, 0.0))
        clipped[node.output[0]] = low, high if most is None else min(high, max(most, 0.0))
    return clipped


def only_reader(node: NodeProto | None, kind: str, readers: Readers) -> NodeProto | None:
    """Return the single consumer of a node's output if it has the given operator type, else `None`.

    Parameters
    ----------
    node
        Whose first output is looked at; `None` gives `None`, so that calls can be chained.
    kind
        The operator type, as ``Mul``.
    readers
        Of all values, from :func:`readers_of`.
    """
    found = [] if node is None else readers[node.output[0]]
    return found[0] if len(found) == 1 and found[0].op_type == kind else None


def keep_needed(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Replace a graph's nodes by those given, in order, without the ones that lead to no graph output.

    ONNX Runtime does not remove dead nodes that rewriting leaves behind: it would run them.
    """
    needed = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    made = makers_of(graph)
    known = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(known)
    drop_unused(graph)


def drop_unused(graph: GraphProto) -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def module_of(node: NodeProto) -> str:
    """Return the qualified name of the torch module that a node comes from; empty for the root or an unknown one."""
    scopes = _scopes(node)
    return scopes[-2] if len(scopes) > 1 else ""


def inside(node: NodeProto, modules: tuple[str, ...]) -> bool:
    """Whether a node comes from one of the torch modules, or from one below them."""
    return any(is_within(scope, modules) for scope in _scopes(node)[:-1])


def _scopes(node: NodeProto) -> list[str]:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            return list(ast.literal_eval(entry.value))
    return []


def save_stripped(model: onnx.ModelProto, out: Path) -> None:
    """Write a model without the exporter's metadata, atomically."""
    strip_metadata(model)
    with replacing(out) as temporary:
        onnx.save(model, temporary)


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove, in place, what exporters record beside the computation: stack traces, source paths, module names."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
