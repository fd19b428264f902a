"""Operator name to function: an operator is a function whose parameters are the operator's own, by name.

Parameters that steer an operator arrive as tensors too; the readers below make numbers of them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.program import MilError, UnknownOpError

Operator = Callable[..., Any]
"""What computes an operator of its parameters, by keyword: one output, or a tuple of them. Its contract: `ops`."""
_Operator = TypeVar("_Operator", bound=Operator)

_OPS: Final[dict[str, Operator]] = {}
Arg = Tensor | float | bool
"""A scalar parameter: a tensor of one element, or the operator's default."""


def op(*names: str) -> Callable[[_Operator], _Operator]:
    """Register an `Operator` as the meaning of MIL's operators of these names."""

    def register(function: _Operator) -> _Operator:
        _OPS.update(dict.fromkeys(names, function))
        return function

    return register


def known_ops() -> frozenset[str]:
    """Return the names of all operators that can be interpreted."""
    return frozenset(_OPS)


def call(kind: str, layer: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - tensors, or a tuple of them
    """Compute an operator.

    Parameters
    ----------
    kind
        The operator, as ``conv``.
    layer
        Name of its first output, for messages.
    arguments
        Its parameters by name, as functions of `ops` take them.

    Raises
    ------
    UnknownOpError
        If nobody registered it, or not all of its parameters are known.
    MilError
        If it fails.
    """
    if kind not in _OPS:
        raise UnknownOpError(
            f"Layer `{layer}`: the MIL interpreter does not know the operator `{kind}`. "
            "Register a function for it in export/lower/mil_interpreter/ops/."
        )
    function = _OPS[kind]
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise UnknownOpError(f"Layer `{layer}`: `{kind}` as the interpreter knows it differs: {error}.") from error
    try:
        return function(**arguments)
    except MilError as error:
        raise type(error)(f"Layer `{layer}` ({kind}): {error}") from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise MilError(f"Layer `{layer}` ({kind}) cannot be computed: {error}") from error


def number(value: Arg) -> float:
    """Return a scalar parameter as a float."""
    return float(value)


def integer(value: Arg) -> int:
    """Return a scalar parameter as an integer."""
    return int(value)


def flag(value: Arg) -> bool:
    """Return a scalar parameter as a truth value."""
    return bool(value)


def integers(values: Tensor | Sequence[int]) -> list[int]:
    """Return a parameter that is a list of integers."""
    return [int(v) for v in (values.flatten().tolist() if isinstance(values, Tensor) else values)]


def flags(values: Tensor | None, count: int) -> list[bool]:
    """Return a mask parameter, all false where it is absent."""
    return [False] * count if values is None else [bool(v) for v in values.flatten().tolist()]


def maybe(values: Tensor | None, default: Sequence[int]) -> list[int]:
    """Return a list parameter, or its default where it is absent."""
    return integers(default if values is None else values)


def axis_shape(tensor: Tensor, rank: int, axis: int) -> Tensor:
    """Return a vector laid along one axis of a tensor of some rank, ready to broadcast.

    Parameters
    ----------
    tensor
        A vector.
    rank
        Rank of the tensor that it is broadcast against.
    axis
        The axis that it lies along.
    """
    shape = [1] * rank
    shape[axis] = tensor.numel()
    return torch.reshape(tensor, shape)
