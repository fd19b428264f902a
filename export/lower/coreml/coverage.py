"""Counts a Core ML package's multiply-accumulates, and lists what may miss the Neural Engine."""

import math
from collections.abc import Mapping
from typing import Final

from pocketcrafter.export.lower.coreml.lint import computing, lint, types_of
from pocketcrafter.export.lower.mil_interpreter.program import Function, Name, Op
from pocketcrafter.export.lower.mil_interpreter.types import TensorType
from pocketcrafter.runtime.bundle.results import Coverage, Fallback

_REASON_CHARS: Final = 500


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
