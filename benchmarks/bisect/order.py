"""Finds the torch operators behind an artifact's operators that lost their names: by their kinds, sizes and order."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from torch.fx import Node

from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.fidelity import sqnr_db

T = TypeVar("T")

CLAMP: Final = "clamp"
_SAME: Final[Mapping[str, str]] = {
    "conv1d": "conv2d",
    "relu": CLAMP,
    "relu6": CLAMP,
    "hardtanh": CLAMP,
    "rsub": "sub",
    "bmm": "matmul",
    "mm": "matmul",
    "addmm": "linear",
}
"""Torch's operators that runtimes have one operator for."""
_LAYERS: Final = frozenset({"conv2d", "conv_transpose2d", "linear", "matmul"})
_WEIGHTED: Final = frozenset({"conv2d", "linear"})
_FOLDED: Final = frozenset({CLAMP, "add", "mul", "sub", "div", "neg"})
"""What converters fold into the layer before it, where the other operand is a constant."""
_SAME_WEIGHTS_DB: Final = 15.0
"""INT8 weights with a scale for each output channel are 30 dB and more from their own."""
_LAYER_WORTH: Final = 10
"""A layer that is matched is worth this many other operators: they come and go, layers do not."""


@dataclass(frozen=True)
class Shown:
    """One operator of an artifact.

    Attributes
    ----------
    kind
        Torch's word for it.
    size
        Elements of its output.
    value
        Its output; pictures may have their channels first or last. `None` where it cannot be seen.
    reads
        Places, in the artifact's list, of the operators that it is fed by.
    """

    kind: str
    size: int
    value: Seen | None
    reads: frozenset[int]


def kind_of(node: Node) -> str:
    """Return what a torch operator is called here."""
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    return _SAME.get(name, name)


def by_order(shown: Sequence[Shown], reference: Reference, *, folds: bool = True) -> Values:
    """Return an artifact's values under the names of the torch operators that they are of.

    Both lists are in running order. Of all ways to pair them in that order, by kind and number of elements, the one
    with the most layers is taken; pairs that are not fed by pairs are dropped. Where torch has an activation or a
    constant factor behind a layer and the artifact has nothing to pair with it, the layer computes it too, and its
    value goes by the last such operator's name.

    Parameters
    ----------
    shown
        The artifact's operators.
    reference
        The network.
    folds
        Whether the artifact's layers may compute what stands behind them.
    """
    nodes = list(reference.operators())
    pairs = _paired([(one.kind, one.size) for one in shown], [_node_key(node) for node in nodes])
    partners = {place: nodes[node_place] for place, node_place in pairs}
    taken = set(partners.values())
    values: dict[str, Seen] = {}
    for place, node in partners.items():
        one, sources = shown[place], _sources(node, taken)
        paired = {partners[read] for read in one.reads if read in partners}
        if sources and not paired <= sources:
            continue
        if folds and kind_of(node) in _LAYERS:
            node = _last_folded(node, taken, reference)  # noqa: PLW2901 - the same value, behind what is folded
        value = None if one.value is None else _as_torch(one.value.value, _shape(node))
        if one.value is not None and value is not None:
            values[node.name] = replace(one.value, value=value)
    return values


def by_weights(weight: FloatArray, reference: Reference) -> tuple[str, ...]:
    """Return the layers whose weights an artifact's are: several, where modules are called again.

    Parameters
    ----------
    weight
        In float32, as runtimes for phones lay it out: ``(O, H, W, I)`` or ``(O, I)``, ``(1, H, W, O)`` where depthwise.
    reference
        The network.
    """
    found = []
    for node in reference.operators():
        own = reference.weight(node) if kind_of(node) in _WEIGHTED else None
        if own is None or own.size != weight.size:
            continue
        laid = own.transpose(0, 2, 3, 1) if own.ndim == 4 else own
        if weight.ndim == 4 and weight.shape[0] == 1 and own.shape[0] == weight.shape[3]:
            laid = own.transpose(1, 2, 3, 0)
        if laid.size == weight.size and sqnr_db(laid.ravel(), weight.ravel()) > _SAME_WEIGHTS_DB:
            found.append(node.name)
    return tuple(found)


def _node_key(node: Node) -> tuple[str, int]:
    return kind_of(node), math.prod(_shape(node))


def _shape(node: Node) -> tuple[int, ...]:
    made: Any = node.meta.get("val")
    return tuple(int(size) for size in made.shape) if hasattr(made, "shape") else ()


def _paired(left: Sequence[tuple[str, int]], right: Sequence[tuple[str, int]]) -> Iterable[tuple[int, int]]:
    """Return the pairs of the heaviest common subsequence; of equal ones, that with the latest places on the right."""
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(1, len(left) + 1):
        worth = _LAYER_WORTH if left[i - 1][0] in _LAYERS else 1
        for j in range(1, len(right) + 1):
            here = best[i - 1][j - 1] + worth if left[i - 1] == right[j - 1] else 0
            best[i][j] = max(best[i - 1][j], best[i][j - 1], here)
    i, j = len(left), len(right)
    while i and j:
        worth = _LAYER_WORTH if left[i - 1][0] in _LAYERS else 1
        if left[i - 1] == right[j - 1] and best[i][j] == best[i - 1][j - 1] + worth:
            yield i - 1, j - 1
            i, j = i - 1, j - 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1


def _sources(node: Node, taken: set[Node]) -> set[Node]:
    """Return the nearest operators before one that have a pair."""
    return _nearest(node.all_input_nodes, taken, lambda here: here.all_input_nodes)


def fed_by(made_by: Mapping[int, int], reads: Sequence[Sequence[int]], start: int, shown: Set[int]) -> set[int]:
    """Return the values that an operator is fed with and that are shown, looked for through those that are not.

    Parameters
    ----------
    made_by
        The operator that makes each value.
    reads
        The values that each operator reads.
    start
        The operator.
    shown
        The values that are shown.
    """
    return _nearest(reads[start], shown, lambda value: reads[made_by[value]] if value in made_by else ())


def _nearest(start: Iterable[T], wanted: Set[T], before: Callable[[T], Iterable[T]]) -> set[T]:
    """Return the first of what is wanted on each way back from a start."""
    waiting, seen, found = list(start), set[T](), set[T]()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if here in wanted:
            found.add(here)
        else:
            waiting += before(here)
    return found


def _last_folded(node: Node, taken: set[Node], reference: Reference) -> Node:
    while len(node.users) == 1:
        (user,) = node.users
        others: list[Any] = [read for read in user.all_input_nodes if read is not node]
        constant = all(reference.is_constant(read) for read in others)
        if user in taken or kind_of(user) not in _FOLDED or not constant:
            break
        node = user
    return node


def _as_torch(value: FloatArray, shape: tuple[int, ...]) -> FloatArray | None:
    """Return a value in torch's layout; `None` where its shape does not tell in which it is."""
    if value.ndim != 4 or len(shape) != 4:
        return value.reshape(shape) if value.size == math.prod(shape) else None
    last = (shape[0], shape[2], shape[3], shape[1])
    if value.shape == shape:
        return None if shape == last and shape[1] > 1 else value
    return value.transpose(0, 3, 1, 2) if value.shape == last else None
