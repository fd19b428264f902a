"""Core AI assets for Apple's phones: written by coreai-torch, proved by Apple's own runtime without a Mac.

An asset is read back as plain data, in the words of MIL, so that one lint and one census serve both formats.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.coreai.convert import AssetFunction, convert, coreai, with_stored
from pocketcrafter.export.lower.coreml.coverage import coreml_coverage
from pocketcrafter.export.lower.measure import (
    ROUNDED,
    SLOWLY,
    Simulation,
    as_tensors,
    compare,
    function_samples,
    hold_back,
    measured,
    run_functions,
    run_torch,
    with_functions,
)
from pocketcrafter.export.lower.mil_interpreter.program import BY_NAME, Function, Name, Op, Port, TensorType
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.export.lower.stateful import StatefulForm, stateful_form
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.config import CompressedWeights
from pocketcrafter.quantize.torch.compressed_weights import stored_weights
from pocketcrafter.runtime.backends.coreai import MAIN, CoreAiBackend
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

CONVERSION_GATE_DB: Final = 85.0
"""A float32 asset is the network up to float rounding; what is below was converted wrongly.

Apple's kernels sum in another order than torch's. Of the shipped networks the composition's tilt, a sum of terms that
nearly cancel, loses most by that: 94 dB on a golden; all other outputs reach 119 dB.
"""
_STEPS: Final = 3
_HOW: Final = "The .aimodel in Apple's own Core AI runtime, on this machine's CPU"
_DIALECT: Final = "coreai."
_DECOMPOSABLE: Final = "decomposable.broadcasting_"
_GRAPH: Final = "coreai.graph"
_INVOKE: Final = "coreai.invoke"
_CALLEE: Final = re.compile(r'@"?(\w+)_[a-z]{8}\b')
"""The name of a composite operator, which has eight letters behind it."""
_OUTPUT: Final = "output"
_CONSTEXPR: Final = "constexpr_"
"""What MIL calls operators on constants alone."""
CONSTANT: Final = "const"
"""What `kind_of` calls constants."""
_KINDS: Final[Mapping[str, str]] = {"conv2d": "conv", "batch_matmul": "matmul", "constant": CONSTANT}
"""Operators that MIL calls otherwise."""
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {"conv": ("x", "weight"), "matmul": ("x", "y")}
"""Parameters that the census and the lint read; the others have numbers."""
_FLOATS: Final[Mapping[str, str]] = {"f16": "fp16", "f32": "fp32", "i1": "bool"}


def lower_coreai(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Convert, prove, and write an asset; for ``coreai:<ios>``.

    As for Core ML, the network is converted in float32 first and must be itself; ``fp32`` is that asset. ``fp16``
    computes in float16, but where a constant is too large for it. ``int8``, ``w4`` and the palettes store the weights
    of convolutions and linear layers in fewer bits besides, on the grids that Core ML's packages have (see
    `quantize.torch.compressed_weights`); modules in ``keep_fp32`` keep float16 weights. Nothing is calibrated. Further
    functions of the contract become functions of one asset, which stores their weights once. A network of `stateful`
    has functions beside these that keep inside what it hands from call to call.

    Raises
    ------
    GateError
        If the float32 asset is not the network.
    BackendError
        If coreai-torch cannot convert the network.
    """
    target, out = request.only
    spec, half = request.spec, request.precision is not Precision.FP32
    used, held = hold_back(request.calibration, spec, SLOWLY)
    eager = frozen(request.module(), request.keep_fp32)
    samples = function_samples(held, spec, request.functions, SLOWLY)
    backend = CoreAiBackend()
    reference = {name: run_torch(eager, given, about) for name, (about, given) in samples.items()}
    form = stateful_form(eager)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        made = Path(name) / "made.aimodel"
        # A copy each time: networks that keep what they once computed would keep what exporting them computes.
        convert(_functions(with_stored(eager, {}), samples), made, half=False)
        first = {name: (about, given[:1] if half else given) for name, (about, given) in samples.items()}
        actual = run_functions(backend, made, first)
        more = form.prove(_AssetStates(made, form), eager, used) if form else ()
        for function, (about, given) in samples.items():
            _check_conversion(compare(given[:1], reference[function][:1], actual[function][:1], about), about, target)
        _check_conversion(more, spec, target)
        request.progress(1, _STEPS)
        scheme, simulated = request.scheme(target), eager
        if half:
            stored = stored_weights(eager, scheme) if isinstance(scheme, CompressedWeights) else {}
            convert(_functions(with_stored(eager, stored), samples), made, half=True)
            request.progress(2, _STEPS)
            actual = run_functions(backend, made, samples)
            simulated = quantize(eager, scheme) if isinstance(scheme, CompressedWeights) else eager
            more = form.prove(_AssetStates(made, form), simulated, used) if form else ()
        coverage = coreml_coverage(read_asset(made), half=half)
        results: dict[str | None, LoweredArtifact] = {}
        for function, (about, given) in samples.items():
            simulation = Simulation(run_torch(simulated, given, about), ROUNDED) if simulated is not eager else None
            before, after = reference[function], actual[function]
            results[function] = measured(out, coverage, about, given, before, simulation, after, _HOW)
        move(made, out)
        request.progress(_STEPS, _STEPS)
    default = results.pop(None)
    result = with_functions(default, {f"{function}": found for function, found in results.items()}, spec)
    if form is None:
        return {target: result}
    main = ArtifactFunction(name=MAIN, inputs=spec.inputs, outputs=spec.outputs)
    functions = (main, *(function.about for function in form.functions), *result.functions)
    return {target: replace(result, rung2=(*result.rung2, *more), functions=functions)}


def _functions(
    model: nn.Module, samples: Mapping[str | None, tuple[ComponentSpec, Sequence[Sample]]]
) -> list[AssetFunction]:
    """Return the functions of a network's contract, `main` first, and those that keep its state inside."""
    made = [
        AssetFunction(name or MAIN, about, model, as_tensors(given[0], about))
        for name, (about, given) in samples.items()
    ]
    form = stateful_form(model)
    for function in form.functions if form else ():
        kept = tuple(tensor.name for tensor in function.about.states)
        made.append(AssetFunction(function.about.name, function.spec, function.module, function.zeros, kept))
    return made


class _AssetStates:
    """A `StatefulRunner` of an asset, in Apple's runtime."""

    def __init__(self, artifact: Path, form: StatefulForm) -> None:
        backend = CoreAiBackend()
        self._sessions = {
            function.about.name: backend.open_function(artifact, function.spec, 1, function.about.name)
            for function in form.functions
        }
        self._state = next(iter(self._sessions.values())).new_state()

    def run(self, function: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        made = self._sessions[function].run(given, self._state)
        return {name: torch.from_numpy(value) for name, value in made.items()}

    def states(self) -> Mapping[str, Tensor]:
        return {name: torch.from_numpy(kept.numpy().astype(np.float32)) for name, kept in self._state.items()}


def _check_conversion(found: Sequence[Fidelity], spec: ComponentSpec, target: TargetKind) -> None:
    for fidelity in found:
        if not fidelity.reaches(CONVERSION_GATE_DB):
            raise GateError(
                f"{spec.name} for {target}: converted in float32, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB "
                f"from the network (needed: {CONVERSION_GATE_DB:.0f} dB): coreai-torch changed what it computes."
            )


def read_asset(path: Path) -> Function:
    """Return the function `main` of an asset: its operators in order, with the types that they are declared to have.

    Operators that only constants go into have names that begin with ``constexpr_``, as weights' own have in MIL.

    Raises
    ------
    BackendError
        If Apple's packages are missing, or the asset cannot be read.
    """
    program = open_program(path)  # held until the end: what it contains does not outlive it
    try:
        return _function(main_graph(program, path))
    except BackendError:
        raise
    except Exception as error:  # Apple's packages raise whatever their readers raise
        raise BackendError(f"{path}: Core AI cannot read it: {type(error).__name__}: {error}") from error


def open_program(path: Path) -> Any:  # noqa: ANN401 - untyped package
    """Return an asset's program, for those who change it.

    Raises
    ------
    BackendError
        If Apple's packages are missing, or the asset cannot be read.
    """
    try:
        return coreai("coreai.authoring").AIModelAsset.load(path.resolve()).program
    except BackendError:
        raise
    except Exception as error:  # Apple's packages raise whatever their readers raise
        raise BackendError(f"{path}: Core AI cannot read it: {type(error).__name__}: {error}") from error


def main_graph(program: Any, path: Path) -> Any:  # noqa: ANN401 - untyped package
    """Return the graph of a program's function `main`; the program must be held as long as the graph is.

    Raises
    ------
    BackendError
        If there is none.
    """
    graphs = [op for op in program._module._mlir_module.body.operations if op.operation.name == _GRAPH]
    found = [op for op in graphs if op.attributes["sym_name"].value == MAIN]
    if len(found) != 1:
        raise BackendError(f"{path}: not a Core AI asset with one function `{MAIN}`; build it again.")
    return found[0]


def _function(graph: Any) -> Function:  # noqa: ANN401 - untyped package
    block = graph.regions[0].blocks[0]
    inputs = tuple(Port(value.get_name(), _type(value)) for value in block.arguments)
    ops: list[Op] = []
    outputs: tuple[str, ...] = ()
    names = {port.name: port.name for port in inputs}
    constants: set[str] = set()
    for number, op in enumerate(block.operations):
        read = [names[value.get_name()] for value in op.operands]
        kind = kind_of(op)
        if kind == _OUTPUT:
            outputs = tuple(read)
            continue
        if kind != CONSTANT and read and constants.issuperset(read):
            kind = f"{_CONSTEXPR}{kind}"
        made = []
        for place, value in enumerate(op.results):
            names[value.get_name()] = name = f"{kind}_{number}" + (f"_{place}" if place else "")
            made.append(Port(name, _type(value)))
        if kind == CONSTANT or kind.startswith(_CONSTEXPR):
            constants.update(port.name for port in made)
        known = _PARAMETERS.get(kind, ())
        parameters = [*known, *(f"{place}" for place in range(len(known), len(read)))]
        bound = {parameter: (Name(name),) for parameter, name in zip(parameters, read, strict=False)}
        ops.append(Op(kind, bound, tuple(made)))
    return Function(MAIN, inputs, (), tuple(ops), outputs)


def kind_of(op: Any) -> str:  # noqa: ANN401 - untyped package
    """Return what an operator is called here."""
    name = str(op.operation.name)
    if name == _INVOKE:
        callee = _CALLEE.search(str(op.attributes["callee"]))
        return callee[1] if callee else name
    name = name.removeprefix(_DIALECT).removeprefix(_DECOMPOSABLE)
    return _KINDS.get(name, name)


def _type(value: Any) -> TensorType | None:  # noqa: ANN401 - untyped package
    shape = getattr(value.type, "shape", None)
    if shape is None:
        return None
    element = str(value.type.element_type)
    spelled = _FLOATS.get(element) or element.replace("si", "int").replace("ui", "uint")
    return TensorType(BY_NAME[spelled], tuple(shape)) if spelled in BY_NAME else None
