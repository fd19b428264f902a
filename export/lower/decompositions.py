"""Writes networks in the few operators that every accelerator takes; what they compute stays."""

import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from pocketcrafter.export.lower.measure import as_tensors, compare, run_torch
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.programs import spell_out_gelus, written_buffers
from pocketcrafter.export.lower.request import Sample
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.targets import TargetKind

_ATEN: Final = torch.ops.aten
_MOST_AXES: Final = 5
"""That an operator of the HTP takes."""
_REWRITTEN_DB: Final = 90.0
"""Rewritten, a network must be itself up to float rounding."""


def decomposed(model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Return a network in plain operators, or itself where nothing is written otherwise.

    What depends on buffers alone becomes a buffer. Group and layer normalization, means and reorderings over the last
    axis become products with constants; expansion one with ones; attention two batched products; what only changes
    shape a reshape. XNNPACK leaves such operators outside, Vulkan some of them, and QNN cannot finish a graph with the
    mean of float16 rows. A network that keeps something in a buffer is not touched.

    Parameters
    ----------
    model
        In evaluation mode; left as it is, and shares its parameters with what is returned.
    inputs
        Of the shapes that it is to be lowered for.
    """
    with torch.no_grad():
        program = torch.export.export(model, inputs)
    if written_buffers(program):
        return model
    module: Any = program.module(check_guards=False)
    changed = _fold(module)
    changed |= spell_out_gelus(module, powers=False)
    for node in list(module.graph.nodes):
        write = _FORMS.get(node.target) if node.op == "call_function" else None
        with module.graph.inserting_before(node):
            written = write(_Place(module, node)) if write else None
        if written is not None:
            written.meta = {"val": node.meta["val"]}
            node.replace_all_uses_with(written)
            module.graph.erase_node(node)
            changed = True
    if not changed:
        return model
    module.graph.eliminate_dead_code()
    return GraphModule(module, module.graph)


def checked_decomposition(model: nn.Module, sample: Sample, spec: ComponentSpec) -> nn.Module:
    """Return a network in plain operators, held against itself on a sample.

    Parameters
    ----------
    model, spec
        The network, as for :func:`decomposed`, and its contract.
    sample
        Inputs of it.

    Raises
    ------
    GateError
        If an output is further from the network's own than float rounding explains.
    """
    plain = decomposed(model, as_tensors(sample, spec))
    if plain is model:
        return model
    expected, outputs = (run_torch(network, [sample], spec) for network in (model, plain))
    for fidelity in compare([sample], expected, outputs, spec):
        if not fidelity.reaches(_REWRITTEN_DB):
            raise GateError(
                f"{spec.name}: written in plain operators, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB from the "
                f"network (needed: {_REWRITTEN_DB:.0f} dB)."
            )
    return plain


def written_for(
    target: TargetKind, precision: Precision, model: nn.Module, sample: Sample, spec: ComponentSpec
) -> nn.Module:
    """Return a foreign network as a target's toolchain takes it: in plain operators, or as it is.

    Parameters
    ----------
    target, precision
        What it is lowered for, and to.
    model, sample, spec
        As for :func:`checked_decomposition`.

    Raises
    ------
    GateError
        As for :func:`checked_decomposition`.
    """
    profile = profile_of(target)
    # Networks of several functions are written in plain operators; a rewritten graph has one function.
    if spec.functions:
        return model
    if profile.rewrites(precision):
        return checked_decomposition(model, sample, spec)
    return with_plain_norms(model) if profile.rewrites_norms(precision) else model


def with_plain_norms(model: nn.Module) -> nn.Module:
    """Return a network whose layer normalizations alone are written in plain operators; its modules keep their names.

    For networks whose linear layers are quantized one by one: :func:`decomposed` leaves no modules.

    Parameters
    ----------
    model
        In evaluation mode; left as it is, and shares its parameters with what is returned.
    """
    if not any(isinstance(module, nn.LayerNorm) for module in model.modules()):
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    made = copy.deepcopy(model, shared)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.LayerNorm):
            parent, _, own = name.rpartition(".")
            setattr(made.get_submodule(parent), own, _PlainLayerNorm(module))
    return made


class _PlainLayerNorm(nn.Module):
    """Layer normalization whose means are products with a constant."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = norm.weight, norm.bias, norm.eps
        self.width = math.prod(norm.normalized_shape)
        self.register_buffer("shares", torch.full((self.width, 1), 1 / self.width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        shares, rows = self.get_buffer("shares"), x.reshape(-1, self.width)
        apart = rows - torch.mm(rows, shares)
        out = (apart * torch.rsqrt(torch.mm(apart * apart, shares) + self.epsilon)).reshape(x.shape)
        out = out if self.weight is None else out * self.weight
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class _Place:
    """A node, and how to write others before it."""

    module: GraphModule
    node: Any
    """An fx node; its own type lets an argument be almost anything."""

    def arg(self, index: int, default: Any = None) -> Any:  # noqa: ANN401 - whatever the operator takes there
        return self.node.args[index] if len(self.node.args) > index else default

    def shape(self, node: Node | None = None) -> tuple[int, ...]:
        return tuple((node or self.node).meta["val"].shape)

    def write(self, target: Callable[..., Any], *args: Any) -> Node:  # noqa: ANN401 - whatever the operator takes
        return self.module.graph.call_function(target, args)

    def reshaped(self, node: Node, shape: Sequence[int]) -> Node:
        return self.write(_ATEN.reshape.default, node, list(shape))

    def constant(self, value: Tensor) -> Node:
        return _constant(self.module, value)

    def averaged(self, rows: Node, height: int, width: int) -> Node:
        """Return the mean of each row of a matrix, as a column."""
        # No linear layer: what quantizes those is not to round means to 8 bits.
        share = self.constant(torch.full((width, 1), 1 / width))
        return self.reshaped(self.multiplied(rows, share, (1, height, 1), width), (height, 1))

    def normalized(self, node: Node, width: int, epsilon: float) -> Node:
        """Return the values of this node's shape in rows, each with mean 0 and variance 1."""
        height = math.prod(self.shape()) // width
        rows = self.reshaped(node, (height, width))
        apart = self.write(_ATEN.sub.Tensor, rows, self.averaged(rows, height, width))
        spread = self.averaged(self.write(_ATEN.mul.Tensor, apart, apart), height, width)
        scale = self.write(_ATEN.rsqrt.default, self.write(_ATEN.add.Tensor, spread, epsilon))
        return self.write(_ATEN.mul.Tensor, apart, scale)

    def scaled(self, node: Node, weight: Node | None, bias: Node | None, shape: Sequence[int]) -> Node:
        """Return a normalization's second half."""
        for target, by in ((_ATEN.mul.Tensor, weight), (_ATEN.add.Tensor, bias)):
            if by is not None:
                node = self.write(target, node, self.reshaped(by, shape))
        return node

    def multiplied(self, left: Node, right: Node, shape: Sequence[int], inner: int) -> Node:
        """Return the matrix products of two stacks of the same height; ``shape`` is what comes of them."""
        *stack, rows, columns = shape
        height = math.prod(stack)
        flat = (self.reshaped(left, (height, rows, inner)), self.reshaped(right, (height, inner, columns)))
        return self.reshaped(self.write(_ATEN.bmm.default, *flat), shape)


def _fold(module: GraphModule) -> bool:
    """Put buffers in the place of what is worked out of buffers alone."""
    known: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            value = _attribute(module, str(node.target))
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                known[node] = value
        elif node.op == "call_function" and set(node.all_input_nodes) <= known.keys():
            arguments = torch.fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*arguments[0], **arguments[1])
    folded = [node for node, value in known.items() if node.op == "call_function" and isinstance(value, Tensor)]
    for node in folded:
        if any(user not in known for user in node.users):
            with module.graph.inserting_before(node):
                constant = _constant(module, known[node].clone(memory_format=torch.contiguous_format))
            constant.meta = {"val": node.meta["val"]}
            node.replace_all_uses_with(constant)
    return bool(folded)


def _attribute(module: nn.Module, name: str) -> object:
    return operator.attrgetter(name)(module)


def _constant(module: GraphModule, value: Tensor) -> Node:
    name = f"plain_{len(module._buffers)}"
    module.register_buffer(name, value, persistent=False)
    return module.graph.get_attr(name)


def _only_shape(place: _Place) -> Node:
    return place.reshaped(place.arg(0), place.shape())


def _select(place: _Place) -> Node:
    source, axis, index = place.node.args[:3]
    size = place.shape(source)[axis]
    first = index % size
    return place.reshaped(place.write(_ATEN.slice.Tensor, source, axis, first, first + 1), place.shape())


def _expand(place: _Place) -> Node | None:
    source, shape = place.arg(0), place.shape()
    given = place.shape(source)
    given = (1,) * (len(shape) - len(given)) + given
    if given == shape:
        return place.reshaped(source, shape)
    if not place.node.meta["val"].is_floating_point():
        return None
    ones = torch.ones([size if have != size else 1 for have, size in zip(given, shape, strict=True)])
    return place.write(_ATEN.mul.Tensor, place.reshaped(source, given), place.constant(ones))


def _einsum(place: _Place) -> Node | None:
    equation, operands = place.arg(0).replace(" ", ""), place.arg(1)
    given, _, made = equation.partition("->")
    if sorted(given) != sorted(made) or len(set(given)) != len(given) or "." in given:
        return None
    order = [given.index(axis) for axis in made]
    return _reordered(place, operands[0], order) or place.write(_ATEN.permute.default, operands[0], order)


def _permute(place: _Place) -> Node | None:
    return _reordered(place, place.arg(0), place.arg(1))


def _reordered(place: _Place, source: Node, order: Sequence[int]) -> Node | None:
    """Reorder axes of a tensor that has more of them than the HTP takes, without those that have one place."""
    shape = place.shape(source)
    if len(shape) <= _MOST_AXES:
        return None
    kept = [axis for axis, size in enumerate(shape) if size != 1]
    narrow = place.reshaped(source, [shape[axis] for axis in kept])
    moved = [kept.index(axis % len(shape)) for axis in order if axis % len(shape) in kept]
    return place.reshaped(place.write(_ATEN.permute.default, narrow, moved), place.shape())


def _itself(place: _Place) -> Node:
    source: Node = place.arg(0)
    return source


def _where(place: _Place) -> Node | None:
    condition, one, other = place.node.args
    chosen = _attribute(place.module, str(condition.target)) if condition.op == "get_attr" else None
    if not isinstance(chosen, Tensor) or not place.node.meta["val"].is_floating_point():
        return None
    shares = chosen.float()
    both = (
        place.write(_ATEN.mul.Tensor, value, place.constant(share))
        for value, share in ((one, shares), (other, 1 - shares))
    )
    return place.write(_ATEN.add.Tensor, *both)


def _cat(place: _Place) -> Node | None:
    (*more, last) = place.arg(0)
    return None if more else last


def _mean(place: _Place) -> Node | None:
    source, axes = place.arg(0), place.arg(1)
    given = place.shape(source)
    if [axis % len(given) for axis in axes or ()] != [len(given) - 1] or place.node.kwargs:
        return None
    return place.reshaped(place.averaged(source, math.prod(given[:-1]), given[-1]), place.shape())


def _layer_norm(place: _Place) -> Node:
    source, over = place.arg(0), place.arg(1)
    width = math.prod(over)
    rows = place.normalized(source, width, place.arg(4, 1e-5))
    return place.scaled(place.reshaped(rows, place.shape()), place.arg(2), place.arg(3), over)


def _group_norm(place: _Place) -> Node:
    source, groups, shape = place.arg(0), place.arg(1), place.shape()
    width = math.prod(shape[1:]) // groups
    rows = place.normalized(source, width, place.arg(4, 1e-5))
    channels = (1, shape[1], *(1 for _ in shape[2:]))
    return place.scaled(place.reshaped(rows, shape), place.arg(2), place.arg(3), channels)


def _matmul(place: _Place) -> Node | None:
    left, right = place.arg(0), place.arg(1)
    *stack, rows, inner = place.shape(left)
    *other, _, columns = place.shape(right)
    return place.multiplied(left, right, (*stack, rows, columns), inner) if stack and stack == other else None


def _attention(place: _Place) -> Node | None:
    query, key, value, mask = (place.arg(index) for index in range(4))
    *stack, rows, width = place.shape(query)
    columns = place.shape(key)[-2]
    causal, options = place.arg(5, default=False), place.node.kwargs
    apart = place.shape(key)[:-2] != tuple(stack)
    if causal or apart or options.get("enable_gqa") or (mask and mask.meta["val"].dtype is torch.bool):
        return None
    scale = options.get("scale") or 1 / math.sqrt(width)
    turned = place.write(_ATEN.transpose.int, key, -2, -1)
    scores = place.multiplied(place.write(_ATEN.mul.Tensor, query, scale), turned, (*stack, rows, columns), width)
    if mask is not None:
        scores = place.write(_ATEN.add.Tensor, scores, mask)
    weights = place.write(_ATEN.softmax.int, scores, -1)
    return place.multiplied(weights, value, place.shape(), columns)


def _nearest(place: _Place) -> Node | None:
    source, shape = place.arg(0), place.shape()
    *outer, height, width = place.shape(source)
    if shape[-2] % height or shape[-1] % width:
        return None
    spread = place.reshaped(source, (math.prod(outer), height, 1, width, 1))
    ones = place.constant(torch.ones(1, 1, shape[-2] // height, 1, shape[-1] // width))
    return place.reshaped(place.write(_ATEN.mul.Tensor, spread, ones), shape)


def _index_select(place: _Place) -> Node | None:
    source, axis, index = place.node.args[:3]
    if axis != 0 or index.op != "get_attr":
        return None
    rows = _attribute(place.module, str(index.target))
    if not isinstance(rows, Tensor):
        return None
    count, *rest = place.shape(source)
    chosen = nn.functional.one_hot(rows, count).float()
    turned = place.write(_ATEN.transpose.int, place.reshaped(source, (count, math.prod(rest))), 0, 1)
    picked = place.write(_ATEN.linear.default, turned, place.constant(chosen))
    return place.reshaped(place.write(_ATEN.transpose.int, picked, 0, 1), place.shape())


def _piece(place: _Place) -> Node | None:
    pieces, index = place.arg(0), place.arg(1)
    if pieces.target not in _LISTS:
        return None
    source = pieces.args[0]
    axis = pieces.args[_LISTS[pieces.target]] if len(pieces.args) > _LISTS[pieces.target] else 0
    sizes = [1 if pieces.target is _ATEN.unbind.int else piece.shape[axis] for piece in pieces.meta["val"]]
    first = sum(sizes[:index])
    taken = place.write(_ATEN.slice.Tensor, source, axis, first, first + sizes[index])
    return place.reshaped(taken, place.shape())


_LISTS: Final = {
    _ATEN.chunk.default: 2,
    _ATEN.split.Tensor: 2,
    _ATEN.split_with_sizes.default: 2,
    _ATEN.unbind.int: 1,
}
"""Operators that return lists, and where they are told the axis."""

_FORMS: Final[Mapping[Any, Callable[[_Place], Node | None]]] = {
    _ATEN.view.default: _only_shape,
    _ATEN.unsqueeze.default: _only_shape,
    _ATEN.squeeze.dim: _only_shape,
    _ATEN.squeeze.dims: _only_shape,
    _ATEN.select.int: _select,
    _ATEN.expand.default: _expand,
    _ATEN.alias.default: _itself,
    _ATEN.cat.default: _cat,
    _ATEN.einsum.default: _einsum,
    _ATEN.permute.default: _permute,
    _ATEN.where.self: _where,
    _ATEN.mean.dim: _mean,
    _ATEN.layer_norm.default: _layer_norm,
    _ATEN.group_norm.default: _group_norm,
    _ATEN.matmul.default: _matmul,
    _ATEN.scaled_dot_product_attention.default: _attention,
    _ATEN.upsample_nearest2d.vec: _nearest,
    _ATEN.index_select.default: _index_select,
    operator.getitem: _piece,
}
"""By operator, what is written in its place; nothing where it stays as it is."""
