"""Packages of several functions that store equal weights once, and share their states where they have any."""

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor
from torch.export import ExportedProgram

from pocketcrafter.export.lower.coreml.convert import (
    Compression,
    convert,
    coremltools,
    exported,
    quiet,
    rarely_validated,
    settle,
)
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode, Program
from pocketcrafter.export.lower.stateful import StatefulForm
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

MAIN: Final = "main"
"""The default function's name in a package, unless the package says otherwise."""
_WEIGHTS_IN: Final = "decoder."
"""Where the modules of stateful functions hold the network, and so the weights that they share."""


@dataclass(frozen=True)
class PackageFunction:
    """One function of a package.

    Attributes
    ----------
    name
        As the package calls it.
    spec
        Its inputs and outputs, without states.
    program
        What is converted.
    """

    name: str
    spec: ComponentSpec
    program: ExportedProgram


def stateful_functions(form: StatefulForm) -> list[PackageFunction]:
    """Return the functions that keep a network's state, as programs."""
    return [
        PackageFunction(function.about.name, function.spec, exported(function.module, function.zeros))
        for function in form.functions
    ]


def placed(compressed: Compression | None) -> Compression | None:
    """Return the compression of a network's own weights by the names that they have in stateful functions' modules."""
    return compressed and compressed.within(_WEIGHTS_IN)


class InterpretedStates:
    """A `StatefulRunner` of a package, in the MIL interpreter."""

    def __init__(self, program: Program, mode: Mode) -> None:
        self._program, self._mode = program, mode
        self._state = Interpreter(program, mode=mode).new_state()

    def run(self, function: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Run a function on the states."""
        return Interpreter(self._program, function, self._mode).run(inputs, self._state).outputs

    def states(self) -> Mapping[str, Tensor]:
        """Return what they hold."""
        return {name: kept.value for name, kept in self._state.items()}


def convert_functions(
    functions: Sequence[PackageFunction],
    ios: int,
    path: Path,
    *,
    half: bool,
    compressed: Compression | None = None,
) -> None:
    """Convert each function, compress it, and merge all of them: equal weights are stored once.

    Parameters
    ----------
    functions
        The first one is the package's default.
    ios, half, compressed
        As `convert` takes them, for every function.
    path
        The package's folder.

    Notes
    -----
    In this order, because coremltools cannot compress a package of several functions.

    Raises
    ------
    BackendError
        If coremltools is missing, or cannot convert or merge.
    """
    ct = coremltools()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        merged = ct.utils.MultiFunctionDescriptor()
        merged.default_function_name = functions[0].name
        for function in functions:
            part = Path(folder) / f"{function.name}.mlpackage"
            convert(function.program, function.spec, ios, part, half=half, compressed=compressed)
            merged.add_function(str(part), src_function_name=MAIN, target_function_name=function.name)
        try:
            with quiet(), rarely_validated():
                importlib.import_module("coremltools.models.utils").save_multifunction(merged, str(path))
        except Exception as error:  # coremltools raises whatever its passes raise
            raise BackendError(f"coremltools cannot merge functions: {type(error).__name__}: {error}") from error
    settle(path)
