"""Reads a Core AI asset back as plain data, in the words of MIL, so that one lint and one census serve both formats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.lower.coreai.convert import coreai
from pocketcrafter.export.lower.mil_interpreter.program import Function, Name, Op, Port
from pocketcrafter.export.lower.mil_interpreter.types import BY_NAME, TensorType
from pocketcrafter.runtime.backends.coreai import MAIN
from pocketcrafter.runtime.errors import BackendError

_DIALECT: Final = "coreai."
_DECOMPOSABLE: Final = "decomposable.broadcasting_"
_GRAPH: Final = "coreai.graph"
_INVOKE: Final = "coreai.invoke"
_OUTPUT: Final = "output"
_CONSTANT: Final = "constant"
_CONSTEXPR: Final = "constexpr_"
"""What MIL calls operators on constants alone."""

_KINDS: Final[Mapping[str, str]] = {"conv2d": "conv", "batch_matmul": "matmul", "constant": "const"}
"""Operators that MIL calls otherwise."""
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {"conv": ("x", "weight"), "matmul": ("x", "y")}
"""Parameters that the census and the lint read; the others have numbers."""
_FLOATS: Final[Mapping[str, str]] = {"f16": "fp16", "f32": "fp32", "i1": "bool"}


def read_asset(path: Path) -> Function:
    """Return the function `main` of an asset: its operators in order, with the types that they are declared to have.

    Operators that only constants go into have names that begin with ``constexpr_``, as weights' own have in MIL.

    Raises
    ------
    BackendError
        If Apple's packages are missing, or the asset cannot be read.
    """
    try:
        # Held until the end: what it contains does not outlive it.
        program = coreai("coreai.authoring").AIModelAsset.load(path.resolve()).program
        body = program._module._mlir_module.body
        graphs = [op for op in body.operations if op.operation.name == _GRAPH]
        (graph,) = (op for op in graphs if op.attributes["sym_name"].value == MAIN)
        return _function(graph)
    except BackendError:
        raise
    except Exception as error:  # Apple's packages raise whatever their readers raise
        raise BackendError(f"{path}: Core AI cannot read it: {type(error).__name__}: {error}") from error


def _function(graph: Any) -> Function:  # noqa: ANN401 - untyped package
    block = graph.regions[0].blocks[0]
    inputs = tuple(Port(value.get_name(), _type(value)) for value in block.arguments)
    ops: list[Op] = []
    outputs: tuple[str, ...] = ()
    names = {port.name: port.name for port in inputs}
    constants: set[str] = set()
    for number, op in enumerate(block.operations):
        read = [names[value.get_name()] for value in op.operands]
        kind = _kind(op)
        if kind == _OUTPUT:
            outputs = tuple(read)
            continue
        if kind != "const" and read and constants.issuperset(read):
            kind = f"{_CONSTEXPR}{kind}"
        made = []
        for place, value in enumerate(op.results):
            names[value.get_name()] = name = f"{kind}_{number}" + (f"_{place}" if place else "")
            made.append(Port(name, _type(value)))
        if kind == "const" or kind.startswith(_CONSTEXPR):
            constants.update(port.name for port in made)
        known = _PARAMETERS.get(kind, ())
        parameters = [*known, *(f"{place}" for place in range(len(known), len(read)))]
        bound = {parameter: (Name(name),) for parameter, name in zip(parameters, read, strict=False)}
        ops.append(Op(kind, bound, tuple(made)))
    return Function(MAIN, inputs, (), tuple(ops), outputs)


def _kind(op: Any) -> str:  # noqa: ANN401 - untyped package
    name = str(op.operation.name)
    if name == _INVOKE:  # a composite operator, whose name has eight letters behind it
        return str(op.attributes["callee"]).strip('@"').rpartition("_")[0]
    name = name.removeprefix(_DIALECT).removeprefix(_DECOMPOSABLE)
    return _KINDS.get(name, name)


def _type(value: Any) -> TensorType | None:  # noqa: ANN401 - untyped package
    shape = getattr(value.type, "shape", None)
    if shape is None:
        return None
    element = str(value.type.element_type)
    spelled = _FLOATS.get(element) or element.replace("si", "int").replace("ui", "uint")
    return TensorType(BY_NAME[spelled], tuple(shape)) if spelled in BY_NAME else None
