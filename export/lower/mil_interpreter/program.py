"""A MIL program as plain data, free of protobuf: functions, their operators, and what each value is declared to be.

The element types are a table keyed by the numbers of the file format; errors say what is wrong with a program, or with
our reading of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.runtime.errors import BackendError

Constant = Tensor | str | tuple["Constant", ...]
"""A value written into the program."""


class MilError(BackendError):
    """A MIL program cannot be read or run."""


class UnknownOpError(MilError):
    """A program uses an operator that the interpreter does not know."""


class DeclaredTypeError(MilError):
    """A value is not of the shape or type that the program declares for it."""


class Kind(StrEnum):
    """Families of element types; torch holds every integer as int64 here, and every float as float32."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOL = "bool"
    STRING = "string"


@dataclass(frozen=True)
class DType:
    """An element type."""

    name: str
    """As `cast` spells it: ``fp16``, ``int32``, ``bool``…"""
    kind: Kind
    bits: int
    signed: bool = True

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value of an integer type."""
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)


DTYPES: Final[Mapping[int, DType]] = {
    1: DType("bool", Kind.BOOL, 8, signed=False),
    2: DType("string", Kind.STRING, 0),
    10: DType("fp16", Kind.FLOAT, 16),
    11: DType("fp32", Kind.FLOAT, 32),
    **{number: DType(f"int{b}", Kind.INTEGER, b) for number, b in ((21, 8), (22, 16), (23, 32), (24, 64), (25, 4))},
    **{
        number: DType(f"uint{b}", Kind.INTEGER, b, signed=False)
        for number, b in ((31, 8), (32, 16), (33, 32), (35, 4), (36, 2), (37, 1), (38, 6), (39, 3))
    },
}
"""By the number of `MIL.DataType`."""

BY_NAME: Final[Mapping[str, DType]] = {dtype.name: dtype for dtype in DTYPES.values()}


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; an axis of unknown length is ``None``, and so is a shape of unknown rank."""

    dtype: DType
    shape: tuple[int | None, ...] | None

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a computed shape is the declared one."""
        if self.shape is None:
            return True
        # A value without axes may be declared with one of length one: files write scalars both ways.
        if len(self.shape) != len(shape):
            return {len(self.shape), len(shape)} == {0, 1} and all(n == 1 for n in (*self.shape, *shape))
        return all(declared in (None, actual) for declared, actual in zip(self.shape, shape, strict=True))

    def __str__(self) -> str:
        axes = "any rank" if self.shape is None else ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.dtype.name}[{axes}]"


def dtype_of(number: int) -> DType:
    """Return the element type with a number of the file format.

    Raises
    ------
    MilError
        If the interpreter has no such type.
    """
    if number not in DTYPES:
        raise MilError(f"The program uses element type number {number}, which the interpreter cannot hold.")
    return DTYPES[number]


def named_dtype(name: str) -> DType:
    """Return the element type that an operator names, as in ``cast(dtype="fp16")``.

    Raises
    ------
    MilError
        If there is none.
    """
    if name not in BY_NAME:
        raise MilError(f"`{name}` is no element type; known are {', '.join(BY_NAME)}.")
    return BY_NAME[name]


def kind_of(tensor: Tensor) -> Kind:
    """Return the family that a computed tensor belongs to."""
    if tensor.dtype == torch.bool:
        return Kind.BOOL
    return Kind.FLOAT if tensor.is_floating_point() else Kind.INTEGER


@dataclass(frozen=True)
class Name:
    """A reference to a value that another operator, or the caller, gives."""

    name: str


@dataclass(frozen=True)
class Port:
    """A named value; ``type`` is ``None`` where it is no tensor (a list, a string)."""

    name: str
    type: TensorType | None


@dataclass(frozen=True)
class Op:
    """One operator."""

    kind: str
    """As in ``conv``."""
    inputs: Mapping[str, tuple[Name | Constant, ...]]
    """By parameter; a parameter that takes a list has several."""
    outputs: tuple[Port, ...]

    @property
    def layer(self) -> str:
        """The name of its first output, which is how tools show it."""
        return self.outputs[0].name if self.outputs else f"{self.kind} without output"

    def reads(self) -> set[str]:
        """Return the names of the values it needs."""
        return {b.name for bindings in self.inputs.values() for b in bindings if isinstance(b, Name)}


@dataclass(frozen=True)
class Function:
    """One function of a package: its inputs, states, operators in order, and the names of its outputs."""

    name: str
    inputs: tuple[Port, ...]
    states: tuple[Port, ...]
    ops: tuple[Op, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """The functions of a package."""

    functions: Mapping[str, Function]
    default: str

    def function(self, name: str | None = None) -> Function:
        """Return a function, the default one if no name is given.

        Raises
        ------
        MilError
            If there is no such function.
        """
        wanted = self.default if name is None else name
        if wanted not in self.functions:
            raise MilError(f"The package has no function `{wanted}`; it has {', '.join(sorted(self.functions))}.")
        return self.functions[wanted]
