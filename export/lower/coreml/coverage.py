"""Counts a Core ML package's multiply-accumulates, and lists what may miss the Neural Engine.

That follows public guidance on what keeps a layer off the engine, with a way out. Heuristics: they say where to look.
Which unit runs a layer is seen on a device only.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pocketcrafter.export.lower.mil_interpreter.program import Function, Kind, Name, Op, TensorType
from pocketcrafter.runtime.bundle.results import Coverage, Fallback

_REASON_CHARS: Final = 500
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
Types = Mapping[str, TensorType]


def coreml_coverage(function: Function, *, half: bool = True) -> Coverage:
    """Count what computes as it was meant to, and list the lint's warnings.

    Parameters
    ----------
    function
        A package's.
    half
        Whether float16 was meant, the only arithmetic of the Neural Engine; float32, which other units run, if not.

    Returns
    -------
    Coverage
        Layers of the type that was meant count as delegated.

    Notes
    -----
    The package is one ML Program that Core ML runs whole, on whichever unit it chooses: the warnings are allowed, and
    that a layer is counted does not prove where it runs.
    """
    types = types_of(function)
    counted = {op.layer: macs_of_op(op, types) for op in computing(function)}
    meant = "fp16" if half else "fp32"
    good = {op.layer for op in computing(function) if all(_is(meant, port.name, types) for port in op.outputs)}
    return Coverage(
        macs_total=sum(counted.values()),
        macs_delegated=sum(macs for layer, macs in counted.items() if layer in good),
        delegated_ops=len(good),
        subgraphs=1,
        fallbacks=tuple(
            Fallback(
                op=f"lint: {warning.check}",
                count=len(warning.layers),
                reason=f"{warning.why}; fix: {warning.fix}; in {', '.join(warning.layers)}"[:_REASON_CHARS],
                allowed=True,
            )
            for warning in lint(function)
        ),
    )


def _is(meant: str, name: str, types: Mapping[str, TensorType]) -> bool:
    return name in types and types[name].dtype.name == meant


def macs_of_op(op: Op, types: Mapping[str, TensorType]) -> int:
    """Return the multiply-accumulates of one operator; 0 for what is no convolution or matrix product."""
    if op.kind in {"conv", "linear"}:
        return _size(op.layer, types) * math.prod(_shape(_first(op, "weight"), types)[1:])
    if op.kind == "conv_transpose":
        return _size(_first(op, "x"), types) * math.prod(_shape(_first(op, "weight"), types)[1:])
    if op.kind == "matmul":
        rows, columns = _shape(_first(op, "x"), types)[-2:]
        result = _shape(op.layer, types)
        return math.prod(result) * (rows * columns // max(result[-2], 1))  # whichever way x lies
    return 0


def _first(op: Op, parameter: str) -> str:
    (bound,) = op.inputs[parameter]
    return bound.name if isinstance(bound, Name) else ""


def _shape(name: str, types: Mapping[str, TensorType]) -> tuple[int, ...]:
    declared = types[name].shape if name in types else None
    return tuple(n or 0 for n in declared or (0,))


def _size(name: str, types: Mapping[str, TensorType]) -> int:
    return math.prod(_shape(name, types))


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
