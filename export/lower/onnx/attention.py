"""Attention over caches as ONNX Runtime's ``GroupQueryAttention``: one operator a layer, over what was read so far.

Spelled out, a layer's attention is thirty operators, which copy whole caches and attend to all of their positions. A
phone's compiler needs that form, for its shapes do not depend on values; ONNX Runtime does not.
"""

import copy
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pocketcrafter.export.models.language import CachedAttention, Context
from pocketcrafter.runtime.language import MASKED

ATTENTION: Final = "GroupQueryAttention"
POSITIONS: Final = "pocketcrafter.positions"
"""Metadata of the operator while it is built: positions that its layer holds at most, new ones apart."""
_CONTRIB: Final = "com.microsoft"
_DOMAIN: Final = "pocketcrafter"
_MARK: Final = "CachedAttention"
_PREFIX: Final = "attention."
_WIDTHS: Final = 16
"""The operator takes heads whose width is a multiple of it."""
_END: Final = int(np.iinfo(np.int64).max)


def with_marked_attention(model: nn.Module) -> nn.Module:
    """Return a network whose attention over caches is exported as one operator each, which computes nothing yet.

    Heads of a width that ONNX Runtime's operator does not take stay spelled out.

    Parameters
    ----------
    model
        Left as it is, and shares its parameters with what is returned.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    made = copy.deepcopy(model, shared)
    for name, module in list(made.named_modules()):
        if isinstance(module, CachedAttention) and module.width % _WIDTHS == 0:
            parent, _, own = name.rpartition(".")
            setattr(made.get_submodule(parent), own, _Mark(module))
    return made


class _Mark(nn.Module):
    """Stands for attention in an exported graph; see :func:`expand_attention`."""

    def __init__(self, attention: CachedAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        about, count = self.attention, query.shape[0]
        new = (about.heads, count, about.width)
        given = (query, key, value, context.keys, context.values, context.cosines, context.sines, context.mask)
        facts: dict[str, Any] = {"layer": about.layer, "groups": about.groups, "scale": about.scale}
        mixed, keys, values = torch.onnx.ops.symbolic_multi_out(
            f"{_DOMAIN}::{_MARK}", given, facts, dtypes=[query.dtype] * 3, shapes=[query.shape, new, new], version=1
        )
        return mixed, keys, values


def expand_attention(model: onnx.ModelProto) -> None:
    """Put ``GroupQueryAttention`` where attention was marked, in place.

    How many positions were read is counted in the mask's first row, so that caches are copied and attended to that far
    alone: the mask must show the first so many of the cached positions to all new ones, and to each of these the new
    ones up to itself, as `pocketcrafter.runtime.language.Text` makes it. With any other the model computes something
    else.

    Parameters
    ----------
    model
        Exported from what :func:`with_marked_attention` returns.
    """
    graph = model.graph
    marks = {node.name: node for node in graph.node if node.op_type == _MARK}
    if not marks:
        return
    writer = _Writer(graph, next(iter(marks.values())))
    shared = writer.taken()
    nodes = [made for node in graph.node for made in ([node] if node.name not in marks else writer.attention(node))]
    del graph.node[:]
    graph.node.extend([*shared, *nodes])
    opsets = [opset for opset in model.opset_import if opset.domain not in {_DOMAIN, _CONTRIB}]
    del model.opset_import[:]
    model.opset_import.extend([*opsets, helper.make_opsetid(_CONTRIB, 1)])


class _Writer:
    """Writes the nodes of attention; what is the same in every layer, once."""

    def __init__(self, graph: onnx.GraphProto, mark: NodeProto) -> None:
        self._graph = graph
        self._nodes: list[NodeProto] = []
        self._integers_made: set[str] = set()
        *_, keys, _, cosines, sines, mask = mark.input
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
        _, self._heads, self._length, self._width = shapes[keys]
        row = self._write("Slice", "first_row", mask, self._integers(0, 0), self._integers(1, self._length))
        limit = numpy_helper.from_array(np.array(MASKED / 2, np.float32), f"{_PREFIX}limit")
        graph.initializer.append(limit)
        shown = self._write("Greater", "shown", row, limit.name)
        shown = self._write("Cast", "shown_integers", shown, to=TensorProto.INT64)
        self._read = self._write("ReduceSum", "read", shown, self._integers(1), keepdims=0)
        """How many positions were read before, ``(1,)``."""
        new = self._write("Shape", "new", mask, end=1)
        total = self._write("Add", "total", self._read, new)
        last = self._write("Sub", "last", total, self._integers(1))
        self._counts = [
            self._write("Cast", "last_short", last, to=TensorProto.INT32),
            self._write("Cast", "total_short", self._write("Squeeze", "total_scalar", total), to=TensorProto.INT32),
        ]
        # The operator takes the rotation of a position from the row of its number.
        pads = self._write("Concat", "pads", self._read, self._integers(0, 0, 0), axis=0)
        half = self._integers(0), self._integers(self._width // 2), self._integers(1)
        self._turns = [
            self._write("Pad", f"{name}_by_number", self._write("Slice", f"{name}_half", table, *half), pads)
            for name, table in (("cosines", cosines), ("sines", sines))
        ]

    def attention(self, mark: NodeProto) -> list[NodeProto]:
        """Return the nodes of one layer."""
        facts: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in mark.attribute}
        layer, groups = facts["layer"], facts["groups"]
        *projections, keys, values, _, _, _ = mark.input
        wide = self._heads * self._width
        widths = (wide * groups, wide, wide)
        given = [
            self._write("Reshape", f"{layer}.projection_{index}", tensor, self._integers(1, -1, width))
            for index, (tensor, width) in enumerate(zip(projections, widths, strict=True))
        ]
        ends = self._write("Concat", f"{layer}.ends", self._integers(layer + 1), self._read, axis=0)
        past = [
            self._write("Slice", f"{layer}.{name}", cache, self._integers(layer, 0), ends, self._integers(0, 2))
            for name, cache in (("keys", keys), ("values", values))
        ]
        seen, *present = (f"{_PREFIX}{layer}.{name}" for name in ("seen", "all_keys", "all_values"))
        attended = helper.make_node(
            ATTENTION,
            [*given, *past, *self._counts, *self._turns],
            [seen, *present],
            name=seen,
            domain=_CONTRIB,
            num_heads=self._heads * groups,
            kv_num_heads=self._heads,
            scale=facts["scale"],
            do_rotary=1,
        )
        attended.metadata_props.extend(mark.metadata_props)
        attended.metadata_props.add(key=POSITIONS, value=str(self._length))
        self._nodes.append(attended)
        # No shape inference knows the operator.
        self._graph.value_info.append(helper.make_tensor_value_info(seen, TensorProto.FLOAT, [1, None, widths[0]]))
        mixed, *new = mark.output
        end, positions = self._integers(_END), self._integers(2)
        self._name(mixed, "Reshape", seen, self._integers(-1, widths[0]))
        for output, whole in zip(new, present, strict=True):
            added = self._write("Slice", f"{whole.removeprefix(_PREFIX)}.new", whole, self._read, end, positions)
            self._name(output, "Squeeze", added, self._integers(0))
        return self.taken()

    def taken(self) -> list[NodeProto]:
        """Return what was written since the last call."""
        nodes, self._nodes = self._nodes, []
        return nodes

    def _write(self, kind: str, name: str, *inputs: str, **facts: Any) -> str:  # noqa: ANN401 - attributes
        return self._name(f"{_PREFIX}{name}", kind, *inputs, **facts)

    def _name(self, output: str, kind: str, *inputs: str, **facts: Any) -> str:  # noqa: ANN401 - likewise
        self._nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **facts))
        return output

    def _integers(self, *values: int) -> str:
        """Return the name of a constant."""
        name = f"{_PREFIX}{'_'.join(map(str, values))}"
        if name not in self._integers_made:
            self._integers_made.add(name)
            self._graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name
