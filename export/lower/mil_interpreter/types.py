"""The element types of MIL, and what each holds: a table keyed by the numbers of the file format."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import MilError


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
