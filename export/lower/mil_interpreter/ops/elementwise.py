"""Operators of one element at a time: arithmetic, comparison, logic, casts and activations."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.program import Kind, MilError, named_dtype
from pocketcrafter.export.lower.mil_interpreter.registry import Arg, axis_shape, integer, number, op

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
def _real_div(x: Tensor, y: Tensor) -> Tensor:
    """Divide; integers give integers, rounded toward zero."""
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@op("rsqrt")
def _rsqrt(x: Tensor, epsilon: Arg = 1e-12) -> Tensor:
    """Reciprocal of the square root."""
    return torch.rsqrt(x + number(epsilon))


@op("inverse")
def _inverse(x: Tensor, epsilon: Arg = 1e-4) -> Tensor:
    """Reciprocal."""
    return torch.reciprocal(x + number(epsilon))


@op("log")
def _log(x: Tensor, epsilon: Arg = 1e-45) -> Tensor:
    """Natural logarithm."""
    return torch.log(x + number(epsilon))


@op("clip")
def _clip(x: Tensor, alpha: Arg, beta: Arg) -> Tensor:
    """Limit to ``[alpha, beta]``."""
    return x.clamp(number(alpha), number(beta))


@op("threshold")
def _threshold(x: Tensor, alpha: Arg) -> Tensor:
    """Raise to at least ``alpha``."""
    return x.clamp(min=number(alpha))


@op("select")
def _select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose, element by element."""
    return torch.where(cond, a, b)


@op("cast")
def _cast(x: Tensor, dtype: str) -> Tensor:
    """Change the element type; floats are cut toward zero, and fp16 rounding is the caller's, by the declared type."""
    held = {Kind.FLOAT: torch.float32, Kind.INTEGER: torch.int64, Kind.BOOL: torch.bool}
    return x.to(held[named_dtype(dtype).kind])


@op("relu")
def _relu(x: Tensor) -> Tensor:
    """``max(x, 0)``."""
    return x.relu()


@op("relu6")
def _relu6(x: Tensor) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return F.relu6(x)


@op("clamped_relu")
def _clamped_relu(x: Tensor, alpha: Arg, beta: Arg) -> Tensor:
    """``min(x, beta)`` where ``x`` is not negative, ``min(alpha·x, beta)`` elsewhere."""
    return torch.where(x >= 0, x, number(alpha) * x).clamp(max=number(beta))


@op("leaky_relu")
def _leaky_relu(x: Tensor, alpha: Arg = 0.01) -> Tensor:
    """``alpha·x`` where negative."""
    return torch.where(x >= 0, x, number(alpha) * x)


@op("thresholded_relu")
def _thresholded_relu(x: Tensor, alpha: Arg = 1.0) -> Tensor:
    """``x`` where it reaches ``alpha``, else 0."""
    return torch.where(x >= number(alpha), x, 0.0)


@op("prelu")
def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """``alpha·x`` where negative, ``alpha`` per channel."""
    return torch.where(x >= 0, x, axis_shape(alpha, x.ndim, 1) * x)


@op("elu")
def _elu(x: Tensor, alpha: Arg = 1.0) -> Tensor:
    """``alpha·(eˣ − 1)`` where negative."""
    return F.elu(x, number(alpha))


@op("gelu")
def _gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit, exact or one of its approximations."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in {"EXACT", "TANH_APPROXIMATION"}:
        raise MilError(f"`{mode}` is no mode of gelu")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@op("linear_activation")
def _linear_activation(x: Tensor, alpha: Arg, beta: Arg = 0.0) -> Tensor:
    """``alpha·x + beta``."""
    return number(alpha) * x + number(beta)


@op("scaled_tanh")
def _scaled_tanh(x: Tensor, alpha: Arg = 1.0, beta: Arg = 1.0) -> Tensor:
    """``alpha·tanh(beta·x)``."""
    return number(alpha) * torch.tanh(number(beta) * x)


@op("sigmoid")
def _sigmoid(x: Tensor) -> Tensor:
    """``1 / (1 + e⁻ˣ)``."""
    return x.sigmoid()


@op("sigmoid_hard")
def _sigmoid_hard(x: Tensor, alpha: Arg = 0.2, beta: Arg = 0.5) -> Tensor:
    """``alpha·x + beta``, limited to [0, 1]."""
    return (number(alpha) * x + number(beta)).clamp(0, 1)


@op("silu")
def _silu(x: Tensor) -> Tensor:
    """``x·sigmoid(x)``."""
    return F.silu(x)


@op("softplus")
def _softplus(x: Tensor) -> Tensor:
    """``log(1 + eˣ)``."""
    return F.softplus(x)


@op("softplus_parametric")
def _softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """``alpha·log(1 + e^(beta·x))`` per channel."""
    return axis_shape(alpha, x.ndim, 1) * F.softplus(axis_shape(beta, x.ndim, 1) * x)


@op("softsign")
def _softsign(x: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    return F.softsign(x)


@op("softmax")
def _softmax(x: Tensor, axis: Arg = -1) -> Tensor:
    """Exponentials that sum to 1 along an axis."""
    return x.softmax(integer(axis))
