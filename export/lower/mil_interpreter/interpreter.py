"""Runs a MIL program in torch, operator by operator, and holds each value against its declared type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter import ops as _ops  # noqa: F401 - registers the operators
from pocketcrafter.export.lower.mil_interpreter.ops.values import State
from pocketcrafter.export.lower.mil_interpreter.package import read_package
from pocketcrafter.export.lower.mil_interpreter.program import (
    Constant,
    DeclaredTypeError,
    Function,
    Kind,
    MilError,
    Name,
    Op,
    Port,
    Program,
    TensorType,
    kind_of,
)
from pocketcrafter.export.lower.mil_interpreter.registry import call

Watch = Callable[[Op, tuple[Tensor, ...]], None]
"""Called with each computed operator and its outputs."""

_Kept = TypeVar("_Kept", State, Tensor)

_LISTS: Final = frozenset({"values"})
"""Parameters that take a list, even of one."""


class Mode(StrEnum):
    """How floats are rounded."""

    FP32 = "fp32"
    """Not at all: what the graph, its weights and encodings say, in float32."""
    DECLARED = "declared"
    """Every output to the type that the program declares for it: computed in float32, kept in float16, say."""


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    outputs: dict[str, Tensor]
    """By name; float32, int64 or bool."""
    overflowed: tuple[str, ...]
    """Layers where a finite number became infinite in the declared type."""


class Interpreter:
    """One function of a package, ready to run.

    Parameters
    ----------
    package
        The ``.mlpackage`` folder, or a program that was read from one.
    function
        Which function; the default one if none is named.
    mode
        How floats are rounded.

    Raises
    ------
    MilError
        If the package cannot be read, or has no such function.
    """

    def __init__(self, package: Path | Program, function: str | None = None, mode: Mode = Mode.DECLARED) -> None:
        program = package if isinstance(package, Program) else read_package(package)
        self.function: Function = program.function(function)
        self.mode = mode
        self._constants: dict[str, Tensor | str] = {}
        self._last_use = _last_uses(self.function)

    def new_state(self, values: Mapping[str, Tensor] | None = None) -> dict[str, State]:
        """Return the function's states, all zero, as a device gives them, or holding values.

        Raises
        ------
        MilError
            If the values are not of exactly these states, or one of them is of another shape.
        """
        states = {port.name: State(torch.zeros(_shape(port))) for port in self.function.states}
        if values is not None:
            given = self._checked_state(values)
            for port in self.function.states:
                states[port.name].value = self._kept(_held(given[port.name]), port, "state", [])
        return states

    @torch.no_grad()
    def run(
        self, inputs: Mapping[str, Tensor], state: Mapping[str, State] | None = None, watch: Watch | None = None
    ) -> Run:
        """Run once.

        Parameters
        ----------
        inputs
            One tensor per input, by name, of the declared shape.
        state
            What :meth:`new_state` gave, written to; a new one if the function has states and none is given.
        watch
            Called with every computed operator and its outputs, constants left out.

        Raises
        ------
        UnknownOpError
            If an operator is not known; the message names it and its layer.
        DeclaredTypeError
            If a value is not of the declared shape or type.
        MilError
            If inputs are missing or an operator fails.
        """
        overflowed: list[str] = []
        values: dict[str, Any] = dict(self.new_state() if state is None else self._checked_state(state))
        values |= self._checked_inputs(inputs, overflowed)
        for index, op in enumerate(self.function.ops):
            if op.kind == "const" or op.kind.startswith("constexpr_"):
                if op.layer not in self._constants:
                    self._store(op, {**values, **self._constants}, self._constants, overflowed)
            else:
                made = self._store(op, {**values, **self._constants}, values, overflowed)
                if watch is not None:
                    watch(op, made)
            for name in self._last_use.get(index, ()):
                values.pop(name, None)
        known = {**values, **self._constants}
        return Run({name: known[name] for name in self.function.outputs}, tuple(dict.fromkeys(overflowed)))

    def _checked_state(self, state: Mapping[str, _Kept]) -> Mapping[str, _Kept]:
        wanted = {port.name for port in self.function.states}
        if state.keys() != wanted:
            has, given = (", ".join(sorted(names)) or "none" for names in (wanted, state.keys()))
            raise MilError(f"`{self.function.name}` keeps the states {has}; it was given {given}.")
        return state

    def _store(self, op: Op, known: Mapping[str, Any], into: dict[str, Any], overflowed: list[str]) -> tuple[Any, ...]:
        arguments = {name: _argument(name, bound, known, op) for name, bound in op.inputs.items()}
        result = call(op.kind, op.layer, arguments)
        made = result if isinstance(result, tuple) else (result,)
        if len(made) != len(op.outputs):
            raise DeclaredTypeError(f"Layer `{op.layer}` ({op.kind}) has {len(op.outputs)} outputs, not {len(made)}.")
        made = tuple(self._kept(v, port, op.kind, overflowed) for v, port in zip(made, op.outputs, strict=True))
        into.update({port.name: value for port, value in zip(op.outputs, made, strict=True)})
        return made

    def _kept(self, value: Any, port: Port, kind: str, overflowed: list[str]) -> Any:  # noqa: ANN401 - or a string
        if not isinstance(value, Tensor) or port.type is None:
            return value
        _check(value, port.type, f"Layer `{port.name}` ({kind})")
        if self.mode is Mode.FP32 or port.type.dtype.name != "fp16":
            return value
        rounded = value.half().float()
        if rounded.isinf().any() and (rounded.isinf() & value.isfinite()).any():
            overflowed.append(port.name)
        return rounded

    def _checked_inputs(self, inputs: Mapping[str, Tensor], overflowed: list[str]) -> dict[str, Any]:
        wanted = {port.name: port for port in self.function.inputs}
        if inputs.keys() != wanted.keys():
            raise MilError(
                f"`{self.function.name}` takes the inputs {', '.join(wanted)}; it was given {', '.join(inputs)}."
            )
        return {name: self._kept(_held(inputs[name]), port, "input", overflowed) for name, port in wanted.items()}


def _held(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.bool:
        return tensor
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def _shape(port: Port) -> tuple[int, ...]:
    if port.type is None or port.type.shape is None or None in port.type.shape:
        raise MilError(f"State `{port.name}` has no static shape.")
    return tuple(n for n in port.type.shape if n is not None)


def _argument(name: str, bound: tuple[Name | Constant, ...], known: Mapping[str, Any], op: Op) -> Any:  # noqa: ANN401
    given = []
    for binding in bound:
        if isinstance(binding, Name) and binding.name not in known:
            raise MilError(f"Layer `{op.layer}` ({op.kind}) reads `{binding.name}`, which nothing before it gives.")
        given.append(known[binding.name] if isinstance(binding, Name) else binding)
    return tuple(given) if name in _LISTS or len(given) != 1 else given[0]


def _check(value: Tensor, declared: TensorType, where: str) -> None:
    kind, wanted = kind_of(value), declared.dtype.kind
    if kind is not wanted or not declared.admits(tuple(value.shape)):
        raise DeclaredTypeError(f"{where} is declared as {declared}; computed, it is {kind}{list(value.shape)}.")
    if kind is Kind.INTEGER and value.numel():
        low, high = declared.dtype.limits
        if int(value.min()) < low or int(value.max()) > high:
            raise DeclaredTypeError(
                f"{where} is declared as {declared}; computed, it reaches from {int(value.min())} to "
                f"{int(value.max())} and overflows."
            )


def _last_uses(function: Function) -> dict[int, list[str]]:
    """Map each operator's index to the values that nothing after it reads, so that large maps are freed early."""
    last = {name: index for index, op in enumerate(function.ops) for name in op.reads()}
    kept = {*function.outputs, *(port.name for port in function.states)}
    ends: dict[int, list[str]] = {}
    for name, index in last.items():
        if name not in kept:
            ends.setdefault(index, []).append(name)
    return ends
