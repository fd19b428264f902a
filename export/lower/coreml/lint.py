"""What public guidance says keeps a layer off Apple's Neural Engine, looked for in a package, with a way out.

Heuristics: they say where to look. Which unit runs a layer is seen on a device only.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pocketcrafter.export.lower.mil_interpreter.program import Function, Op
from pocketcrafter.export.lower.mil_interpreter.types import Kind, TensorType

_GATHERS: Final = frozenset(
    {"gather", "gather_nd", "gather_along_axis", "scatter", "scatter_nd", "scatter_along_axis", "resample", "topk"}
)
_LAYOUTS: Final = frozenset({"transpose", "reshape", "expand_dims", "squeeze", "reshape_like"})
_FREE: Final = frozenset({"const", "cast", "read_state", "write_state", "shape"})
_MAX_RANK: Final = 5
_MAX_LENGTH: Final = 16384
_MAX_KERNEL: Final = 13
_MAX_STRIDE: Final = 2
_ROW_BYTES: Final = 64
_PADDING_FROM_BYTES: Final = 1 << 20
"""Padded, a tensor this large costs bandwidth."""
_LAYOUT_SHARE: Final = 0.25


@dataclass(frozen=True)
class Warning_:  # noqa: N801 - `Warning` is Python's
    """One check that some layers do not pass."""

    check: str
    layers: tuple[str, ...]
    why: str
    fix: str


def lint(function: Function) -> tuple[Warning_, ...]:
    """Check a function of a package; return one warning for each check that fails, with every layer concerned."""
    types = types_of(function)
    found = []
    for check, (test, why, fix) in _CHECKS.items():
        layers = tuple(op.layer for op in computing(function) if test(op, types))
        if layers:
            found.append(Warning_(check, layers, why, fix))
    return (*found, *_much_layout(function))


def types_of(function: Function) -> Mapping[str, TensorType]:
    """Return the declared type of every tensor of a function, by name."""
    ports = (*function.inputs, *(port for op in function.ops for port in op.outputs))
    return {port.name: port.type for port in ports if port.type is not None}


def computing(function: Function) -> Iterator[Op]:
    """Go through the operators that compute something while the model runs."""
    return (op for op in function.ops if op.kind not in _FREE and not op.kind.startswith("constexpr_"))


Types = Mapping[str, TensorType]


def _outputs(op: Op) -> list[TensorType]:
    return [port.type for port in op.outputs if port.type is not None]


def _lengths(declared: TensorType) -> list[int]:
    return [n for n in declared.shape or () if n is not None]


def _symbolic(op: Op, _: Types) -> bool:
    return any(t.shape is None or None in t.shape for t in _outputs(op))


def _deep(op: Op, _: Types) -> bool:
    return any(len(t.shape or ()) > _MAX_RANK for t in _outputs(op))


def _long(op: Op, _: Types) -> bool:
    return any(n > _MAX_LENGTH for t in _outputs(op) for n in _lengths(t))


def _float32(op: Op, _: Types) -> bool:
    return any(t.dtype.name == "fp32" for t in _outputs(op))


def _integer(op: Op, _: Types) -> bool:
    return any(t.dtype.kind is Kind.INTEGER and t.shape not in ((), None) for t in _outputs(op))


def _padded(op: Op, _: Types) -> bool:
    for declared in _outputs(op):
        lengths, width = _lengths(declared), declared.dtype.bits // 8
        row = lengths[-1] * width if lengths else 0
        if row % _ROW_BYTES and math.prod(lengths[:-1]) * (row + -row % _ROW_BYTES) >= _PADDING_FROM_BYTES:
            return True
    return False


def _wide_kernel(op: Op, types: Types) -> bool:
    weight = _shape_of(op, "weight", types)
    return op.kind.startswith("conv") and any(n > _MAX_KERNEL for n in weight[2:])


def _wide_stride(op: Op, types: Types) -> bool:
    if op.kind != "conv":
        return False
    data, result = _shape_of(op, "x", types), _lengths(_outputs(op)[0])
    return any(n and m and n // m > _MAX_STRIDE for n, m in zip(data[2:], result[2:], strict=False))


def _shape_of(op: Op, parameter: str, types: Types) -> list[int]:
    names = [b.name for b in op.inputs.get(parameter, ()) if hasattr(b, "name")]
    return _lengths(types[names[0]]) if names and names[0] in types else []


def _much_layout(function: Function) -> tuple[Warning_, ...]:
    ops = list(computing(function))
    moved = tuple(op.layer for op in ops if op.kind in _LAYOUTS)
    if len(moved) <= _LAYOUT_SHARE * len(ops):
        return ()
    why = f"{len(moved)} of {len(ops)} operators only change the layout, each a pass over memory"
    return (Warning_("layout", moved, why, "keep one layout (batch, channels, 1, sequence) from end to end"),)


_CHECKS: Final[Mapping[str, tuple[Callable[[Op, Types], bool], str, str]]] = {
    "symbolic shape": (_symbolic, "shapes are fixed when the engine compiles", "convert with static shapes"),
    "rank": (_deep, f"tensors of rank above {_MAX_RANK} stay off the engine", "merge axes with a reshape"),
    "length": (_long, f"axes longer than {_MAX_LENGTH} stay off the engine", "split the axis in two"),
    "float32": (
        _float32,
        "the engine computes in float16 only",
        "convert in float16, or scale the values so that it holds",
    ),
    "integer": (_integer, "the engine computes no integers", "compute indices ahead, or in float16"),
    "gather": (
        lambda op, _: op.kind in _GATHERS,
        "reads by index run on the CPU",
        "slices, one-hot products, or pooling",
    ),
    "linear": (
        lambda op, _: op.kind == "linear",
        "is run as a convolution after a change of layout",
        "a 1×1 convolution",
    ),
    "row": (_padded, f"rows are padded to {_ROW_BYTES} bytes in memory", "a last axis of whole rows (32 float16)"),
    "kernel": (_wide_kernel, f"kernels above {_MAX_KERNEL} stay off the engine", "several smaller convolutions"),
    "stride": (_wide_stride, f"strides above {_MAX_STRIDE} stay off the engine", "a space-to-depth before it"),
}
