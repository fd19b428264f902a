"""Operator name to function: an operator is a function whose parameters are the operator's own, by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pocketcrafter.export.lower.mil_interpreter.errors import MilError, UnknownOpError

Implementation = Callable[..., Any]
_Any = TypeVar("_Any", bound=Implementation)

_OPS: Final[dict[str, Implementation]] = {}


def op(*names: str) -> Callable[[_Any], _Any]:
    """Register a function as the meaning of operators.

    The function takes the operator's parameters by MIL's names, with MIL's defaults; tensors arrive as float32, int64
    or bool, parameters that take lists as tuples; it returns a tensor, or a tuple where there are several outputs.
    """

    def register(function: _Any) -> _Any:
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
