"""A MIL program as plain data, free of protobuf: functions, their operators, and what each value is declared to be."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.types import TensorType

Constant = Tensor | str | tuple["Constant", ...]
"""A value written into the program."""


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
