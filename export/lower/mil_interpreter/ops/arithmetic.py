"""Arithmetic, comparison and logic, element by element."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, number
from pocketcrafter.export.lower.mil_interpreter.registry import op
from pocketcrafter.export.lower.mil_interpreter.types import Kind, named_dtype

_BINARY: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
_UNARY: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "logical_not": torch.logical_not,
    "round": torch.round,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "identity": torch.clone,
}


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def compute(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return compute


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def compute(x: Tensor) -> Tensor:
        return function(x)

    return compute


for _name, _two in _BINARY.items():
    op(_name)(_binary(_two))
for _name, _one in _UNARY.items():
    op(_name)(_unary(_one))


@op("real_div")
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Divide; integers give integers, rounded toward zero."""
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@op("rsqrt")
def rsqrt(x: Tensor, epsilon: Arg = 1e-12) -> Tensor:
    """Reciprocal of the square root."""
    return torch.rsqrt(x + number(epsilon))


@op("inverse")
def inverse(x: Tensor, epsilon: Arg = 1e-4) -> Tensor:
    """Reciprocal."""
    return torch.reciprocal(x + number(epsilon))


@op("log")
def log(x: Tensor, epsilon: Arg = 1e-45) -> Tensor:
    """Natural logarithm."""
    return torch.log(x + number(epsilon))


@op("clip")
def clip(x: Tensor, alpha: Arg, beta: Arg) -> Tensor:
    """Limit to ``[alpha, beta]``."""
    return x.clamp(number(alpha), number(beta))


@op("threshold")
def threshold(x: Tensor, alpha: Arg) -> Tensor:
    """Raise to at least ``alpha``."""
    return x.clamp(min=number(alpha))


@op("select")
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose, element by element."""
    return torch.where(cond, a, b)


@op("cast")
def cast(x: Tensor, dtype: str) -> Tensor:
    """Change the element type; floats are cut toward zero, and fp16 rounding is the caller's, by the declared type."""
    held = {Kind.FLOAT: torch.float32, Kind.INTEGER: torch.int64, Kind.BOOL: torch.bool}
    return x.to(held[named_dtype(dtype).kind])
