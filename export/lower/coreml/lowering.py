"""Core ML packages for Apple's phones: written by coremltools, proved in the MIL interpreter without a Mac."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from torch import Tensor, nn

from pocketcrafter.export.lower.coreml.convert import Compression, convert, exported, ios_of
from pocketcrafter.export.lower.coreml.coverage import coreml_coverage
from pocketcrafter.export.lower.coreml.functions import (
    MAIN,
    InterpretedStates,
    PackageFunction,
    convert_functions,
    placed,
    stateful_functions,
)
from pocketcrafter.export.lower.coreml.session import open_package, run_package
from pocketcrafter.export.lower.measure import (
    ROUNDED,
    SLOWLY,
    Simulation,
    as_tensors,
    compare,
    function_samples,
    hold_back,
    measured,
    run_torch,
    with_functions,
)
from pocketcrafter.export.lower.mil_interpreter import Mode, read_package
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.export.lower.stateful import StatefulForm, stateful_form
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.config import CompressedWeights
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TARGETS, TargetKind

CONVERSION_GATE_DB: Final = 100.0
"""A float32 package in float32 is the network up to float rounding; what is below was converted wrongly."""

_STEPS: Final = 3
_ARTIFACT_HOW: Final = (
    "The .mlpackage in the MIL interpreter, every layer rounded to its declared type (the package, not Apple's kernels)"
)


def lower_coreml(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Convert, prove, and write a package; for ``coreml:<ios>``.

    First the network is converted in float32 and must be itself, which finds what a converter breaks silently; that
    package is thrown away, but for ``fp32``, which is it: the phone's CPU or graphics processor runs that, not the
    Neural Engine. ``fp16`` computes in float16. ``int8``, ``w4`` and the palettes store the weights of convolutions and
    linear layers in fewer bits besides (see `quantize.torch.compressed_weights`); modules in ``keep_fp32`` keep float16
    weights. Activations are float16 either way, and nothing is calibrated. Further functions of the contract become
    functions of one package, which stores their weights once. From iOS 18 on, what a network of `stateful`
    hands from call to call stays inside the package.

    Raises
    ------
    GateError
        If the float32 package is not the network.
    BackendError
        If coremltools cannot convert the network.
    """
    target, out = request.only
    spec, precision, keep_fp32 = request.spec, request.precision, request.keep_fp32
    used, held = hold_back(request.calibration, spec, SLOWLY)
    eager = frozen(request.module(), keep_fp32)
    samples = function_samples(held, spec, request.functions, SLOWLY)
    inputs = {name: as_tensors(given[0], about) for name, (about, given) in samples.items()}
    scheme = request.scheme(target)
    simulated, compressed = eager, None
    if isinstance(scheme, CompressedWeights):
        simulated, compressed = quantize(eager, scheme), Compression.of(eager, scheme)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        exact, made = Path(name) / "fp32.mlpackage", Path(name) / "made.mlpackage"
        source = _Source.of(eager, spec, inputs, target)
        source.write(spec, exact, half=False)
        reference = {function: run_torch(eager, given, about) for function, (about, given) in samples.items()}
        for function, (about, given) in samples.items():
            converted = [open_package(exact, about, Mode.FP32, function).run(given[0])]
            found = compare(given[:1], reference[function][:1], converted, about)
            check_conversion(found, about, target)
        check_conversion(_other_functions(source.form, exact, eager, used, Mode.FP32), spec, target)
        request.progress(1, _STEPS)
        half = precision is not Precision.FP32
        if simulated is not eager:
            source = _Source.of(simulated, spec, inputs, target)
        if half:
            source.write(spec, made, half=half, compressed=compressed)
        else:
            exact.replace(made)
        request.progress(2, _STEPS)
        coverage = coreml_coverage(read_package(made).function(), half=half)
        results: dict[str | None, LoweredArtifact] = {}
        for function, (about, given) in samples.items():
            actual = run_package(made, given, about, function)
            simulation = Simulation(run_torch(simulated, given, about), ROUNDED) if simulated is not eager else None
            results[function] = measured(
                out, coverage, about, given, reference[function], simulation, actual, _ARTIFACT_HOW
            )
        more = _other_functions(source.form, made, simulated, used, Mode.DECLARED)
        move(made, out)
        request.progress(_STEPS, _STEPS)
    default = results.pop(None)
    result = with_functions(default, {f"{function}": found for function, found in results.items()}, spec)
    stateful = tuple(function.about for function in source.form.functions) if source.form else ()
    return {target: replace(result, rung2=(*result.rung2, *more), functions=(*stateful, *result.functions))}


@dataclass(frozen=True)
class _Source:
    """What coremltools converts: a network as one program, or as those of its functions."""

    ios: int
    form: StatefulForm | None
    functions: Sequence[PackageFunction]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        spec: ComponentSpec,
        inputs: Mapping[str | None, tuple[Tensor, ...]],
        target: TargetKind,
    ) -> Self:
        """Export a network for a target: each function of its contract, or those that keep its state inside."""
        form = stateful_form(model) if TARGETS[target].state else None
        if form is not None:
            return cls(ios_of(target), form, stateful_functions(form))
        made = [PackageFunction(name or MAIN, spec.of(name), exported(model, given)) for name, given in inputs.items()]
        return cls(ios_of(target), None, made)

    def write(self, spec: ComponentSpec, path: Path, *, half: bool, compressed: Compression | None = None) -> None:
        """Convert, and write the package; see `convert`."""
        if self.form is None and len(self.functions) == 1:
            convert(self.functions[0].program, spec, self.ios, path, half=half, compressed=compressed)
        else:
            own = compressed if self.form is None else placed(compressed)
            convert_functions(self.functions, self.ios, path, half=half, compressed=own)


def check_conversion(found: Sequence[Fidelity], spec: ComponentSpec, target: TargetKind) -> None:
    """Refuse a package that was converted in float32 and is not the network.

    Parameters
    ----------
    found
        The float32 package against the network, one entry an output.
    spec
        The component's contract.
    target
        Named in the message.

    Raises
    ------
    GateError
        With the output that departs, and known causes.
    """
    for fidelity in found:
        if not fidelity.reaches(CONVERSION_GATE_DB):
            raise GateError(
                f"{spec.name} for {target}: converted in float32, `{fidelity.output}` is "
                f"{fidelity.sqnr_db:.1f} dB from the network (needed: {CONVERSION_GATE_DB:.0f} dB): coremltools "
                "changed what it computes. Known causes: integer constants, writes into "
                "a state by index; export/lower/mil_interpreter/README.md shows how to find the layer."
            )


def _other_functions(
    form: StatefulForm | None, package: Path, model: nn.Module, samples: Sequence[Sample], mode: Mode
) -> tuple[Fidelity, ...]:
    return form.prove(InterpretedStates(read_package(package), mode), model, samples) if form else ()
