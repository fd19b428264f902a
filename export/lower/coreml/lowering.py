"""Core ML packages for Apple's phones: written by coremltools, proved in the MIL interpreter without a Mac."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from pocketcrafter.export.coreml_backend import MilBackend
from pocketcrafter.export.lower.base import (
    SLOWLY,
    LoweredArtifact,
    Progress,
    Sample,
    Simulation,
    as_tensors,
    check_precision,
    compare,
    frozen,
    hold_back,
    measured,
    run_torch,
)
from pocketcrafter.export.lower.coreml.convert import CoremlOs, convert, coremltools, exported
from pocketcrafter.export.lower.coreml.coverage import coreml_coverage
from pocketcrafter.export.lower.coreml.functions import StatefulForm, convert_functions, stateful_form
from pocketcrafter.export.lower.coreml.session import open_package
from pocketcrafter.export.lower.mil_interpreter import Mode, read_package
from pocketcrafter.quantize.torch.coreml_weights import Grid, quantize_weights
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

CONVERSION_GATE_DB: Final = 100.0
"""A float32 package in float32 is the network up to float rounding; what is below was converted wrongly."""

GRIDS: Final[Mapping[Precision, Grid]] = {
    Precision.INT8: Grid.INT8,
    Precision.W4: Grid.INT4,
    Precision.PALETTE6: Grid.PALETTE6,
    Precision.PALETTE4: Grid.PALETTE4,
}
"""What weights are rounded to; all else is float16."""
_NO_GRIDS: Final[Mapping[str, Grid]] = {}

ROUNDED: Final = "the network with its weights rounded in torch"
_ARTIFACT_HOW: Final = (
    "The .mlpackage in the MIL interpreter, every layer rounded to its declared type (the package, not Apple's kernels)"
)


class CoremlLowering:
    """Lowers to ``coreml:<ios>``."""

    def __init__(self, target: TargetKind) -> None:
        self._target = target
        self._minimum = CoremlOs(target.partition(":")[2])

    def lower(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> LoweredArtifact:
        """Convert, prove, and write a package; see :meth:`pocketcrafter.export.lower.base.Lowering.lower`.

        First the network is converted in float32 and must be itself, which finds what a converter breaks silently; that
        package is thrown away, but for ``fp32``, which is it: the phone's CPU or graphics processor runs that, not the
        Neural Engine. ``fp16`` computes in float16. ``int8``, ``w4`` and the palettes store the weights of convolutions
        and linear layers in fewer bits besides (see `quantize.torch.coreml_weights`); modules in ``keep_fp32`` keep
        float16 weights. Activations are float16 either way, and nothing is calibrated. From iOS 18 on, what a network
        hands from call to call stays inside the package (see `coreml_functions`).

        Raises
        ------
        GateError
            If the float32 package is not the network.
        BackendError
            If coremltools is missing or cannot convert the network.
        """
        check_precision(self._target, precision)
        coremltools()
        used, held = hold_back(calibration, spec, SLOWLY)
        eager = frozen(model, keep_fp32)
        inputs = as_tensors(used[0], spec)
        simulated, grids = eager, _NO_GRIDS
        if precision in GRIDS:
            # Older systems have one palette for a whole layer.
            groups = self._minimum is not CoremlOs.IOS17
            simulated, grids = quantize_weights(eager, keep_fp32, GRIDS[precision], groups=groups)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            exact, made = Path(name) / "fp32.mlpackage", Path(name) / "made.mlpackage"
            source = self._source(eager, inputs)
            self._write(source, spec, exact, half=False)
            reference = run_torch(eager, held, spec)
            found = compare(reference[:1], [open_package(exact, spec, Mode.FP32).run(held[0])], spec)
            more = _other_functions(source.form, exact, eager, used, Mode.FP32)
            check_conversion((*found, *more), spec, self._target)
            _tell(progress, 1)
            half = precision is not Precision.FP32
            if simulated is not eager:
                source = self._source(simulated, inputs)
            if half:
                self._write(source, spec, made, half=half, grids=grids)
            else:
                exact.replace(made)
            _tell(progress, 2)
            session = MilBackend().open(made, spec, torch.get_num_threads())
            actual = [session.run(sample) for sample in held]
            simulation = Simulation(run_torch(simulated, held, spec), ROUNDED) if simulated is not eager else None
            coverage = coreml_coverage(read_package(made).function(), half=half)
            result = measured(out, coverage, spec, reference, simulation, actual, _ARTIFACT_HOW)
            more = _other_functions(source.form, made, simulated, used, Mode.DECLARED)
            functions = tuple(function.about for function in source.form.functions) if source.form else ()
            result = replace(result, rung2=(*result.rung2, *more), functions=functions)
            move(made, out)
            _tell(progress, 3)
        return result

    def _source(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> "_Source":
        form = stateful_form(model, self._minimum)
        return _Source(form, [exported(model, inputs)] if form is None else form.exported())

    def _write(
        self, source: "_Source", spec: ComponentSpec, path: Path, *, half: bool, grids: Mapping[str, Grid] = _NO_GRIDS
    ) -> None:
        if source.form is None:
            convert(source.programs[0], spec, self._minimum, path, half=half, grids=grids)
        else:
            convert_functions(source.form, source.programs, self._minimum, path, half=half, grids=grids)


@dataclass(frozen=True)
class _Source:
    """What coremltools converts: a network as one program, or as those of its functions, with the state inside."""

    form: StatefulForm | None
    programs: Sequence[ExportedProgram]


def check_conversion(found: Sequence[Fidelity], spec: ComponentSpec, target: TargetKind) -> None:
    """Refuse a package that was converted in float32 and is not the network.

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
                "changed what it computes. Known causes: gelu(approximate='tanh'), integer constants, writes into "
                "a state by index; export/lower/mil_interpreter/README.md shows how to find the layer."
            )


def _other_functions(
    form: StatefulForm | None, package: Path, model: nn.Module, samples: Sequence[Sample], mode: Mode
) -> tuple[Fidelity, ...]:
    return form.prove(read_package(package), model, samples, mode) if form else ()


def _tell(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done, 3)
