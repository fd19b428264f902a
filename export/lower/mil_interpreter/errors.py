"""What can be wrong with a MIL program, or with our reading of it."""

from pocketcrafter.runtime.errors import BackendError


class MilError(BackendError):
    """A MIL program cannot be read or run."""


class UnknownOpError(MilError):
    """A program uses an operator that the interpreter does not know."""


class DeclaredTypeError(MilError):
    """A value is not of the shape or type that the program declares for it."""
