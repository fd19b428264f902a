"""What a backend is: something that opens a component's artifact and runs it on float32 arrays.

Every backend checks what goes in and comes out by the same functions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray, FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError


class Session(Protocol):
    """An opened component, warm after its first run."""

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once.

        Parameters
        ----------
        inputs
            One contiguous float32 array per input of the component's spec, by name and of its shape.

        Returns
        -------
        dict
            One float32 array per output of the spec.

        Raises
        ------
        ShapeMismatchError
            If an input is missing, unknown or of another shape.
        BackendError
            If the backend fails.
        """


class Backend(Protocol):
    """A way to run the artifacts of one kind of target on this machine."""

    def missing(self) -> str | None:
        """Return why the backend cannot run here and the command that mends it, or `None` when it can."""

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open one artifact; ``threads`` ≥ 1.

        Parameters
        ----------
        artifact
            The file or package.
        spec
            The component's contract: names, shapes and dtypes of inputs and outputs.
        threads
            Threads to compute with, ≥ 1.
        """


@runtime_checkable
class FunctionBackend(Backend, Protocol):
    """A backend whose artifacts may hold several functions in one file."""

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> Session:
        """Open one function by its name.

        Parameters
        ----------
        artifact
            The file or package.
        spec
            The contract of that function alone.
        threads
            As in :meth:`Backend.open`.
        function
            As the artifact calls it.

        Raises
        ------
        BackendError
            If it has no such function, or one that does not keep the spec.
        """


def checked_inputs(inputs: Mapping[str, FloatArray], spec: ComponentSpec) -> dict[str, FloatArray]:
    """Return the inputs in the spec's order as contiguous float32.

    Raises
    ------
    ShapeMismatchError
        If an input is missing, unknown or of another shape.
    """
    wanted = {t.name: t.shape for t in spec.inputs}
    if inputs.keys() != wanted.keys():
        raise ShapeMismatchError(
            f"`{spec.name}` takes the inputs {', '.join(wanted)}; it was given {', '.join(inputs) or 'none'}."
        )
    for name, shape in wanted.items():
        if inputs[name].shape != shape:
            raise ShapeMismatchError(f"`{spec.name}.{name}` has shape {shape}, not {inputs[name].shape}.")
    return {name: np.ascontiguousarray(inputs[name], dtype=np.float32) for name in wanted}


def named_outputs(values: Sequence[AnyFloatArray], spec: ComponentSpec) -> dict[str, FloatArray]:
    """Name the outputs, given in the spec's order, and return them as float32.

    Raises
    ------
    BackendError
        If their number or a shape is not the spec's.
    """
    shapes, wanted = [v.shape for v in values], [t.shape for t in spec.outputs]
    if shapes != wanted:
        raise BackendError(f"`{spec.name}` returned tensors of shapes {shapes}; its contract says {wanted}.")
    return {t.name: np.asarray(v, dtype=np.float32) for t, v in zip(spec.outputs, values, strict=True)}
