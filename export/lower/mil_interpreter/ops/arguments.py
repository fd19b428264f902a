"""Parameters that steer an operator arrive as tensors too; these read them as numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

Arg = Tensor | float | bool
"""A scalar parameter: a tensor of one element, or the operator's default."""


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
