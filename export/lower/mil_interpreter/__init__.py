"""Runs Core ML packages (MIL programs) in torch on any machine: verifies the package, not Apple's kernels."""

from pocketcrafter.export.lower.mil_interpreter.divergence import Divergence, first_divergence
from pocketcrafter.export.lower.mil_interpreter.interpreter import Interpreter, Mode, Run
from pocketcrafter.export.lower.mil_interpreter.ops.values import State
from pocketcrafter.export.lower.mil_interpreter.package import read_package
from pocketcrafter.export.lower.mil_interpreter.program import DeclaredTypeError, MilError, Program, UnknownOpError
from pocketcrafter.export.lower.mil_interpreter.registry import known_ops

__all__ = [
    "DeclaredTypeError",
    "Divergence",
    "Interpreter",
    "MilError",
    "Mode",
    "Program",
    "Run",
    "State",
    "UnknownOpError",
    "first_divergence",
    "known_ops",
    "read_package",
]
