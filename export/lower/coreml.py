"""Core ML packages for Apple's phones: written by coremltools, proved in the MIL interpreter without a Mac."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pocketcrafter.export.lower.base import (
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
from pocketcrafter.export.lower.coreml_backend import MilBackend
from pocketcrafter.export.lower.coreml_convert import CoremlOs, convert, coremltools
from pocketcrafter.export.lower.coreml_coverage import coreml_coverage
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode, read_package
from pocketcrafter.quantize.weights import Grid, quantize_weights
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.targets import TargetKind

CONVERSION_GATE_DB: Final = 100.0
"""A float32 package in float32 is the network up to float rounding; what is below was converted wrongly."""

INTERPRETED: Final = 2
"""Most samples to run in the interpreter, which takes seconds for each."""
GRIDS: Final[Mapping[Precision, Grid]] = {
    Precision.INT8: Grid.INT8,
    Precision.W4: Grid.INT4,
    Precision.PALETTE6: Grid.PALETTE6,
    Precision.PALETTE4: Grid.PALETTE4,
}
"""What weights are rounded to; all else is float16."""

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
        and linear layers in fewer bits besides (see `pocketcrafter.quantize.weights`); modules in ``keep_fp32`` keep
        float16 weights. Activations are float16 either way, and nothing is calibrated.

        Raises
        ------
        GateError
            If the float32 package is not the network.
        BackendError
            If coremltools is missing or cannot convert the network.
        """
        check_precision(self._target, precision)
        coremltools()
        used, held = hold_back(calibration)
        held = held[:INTERPRETED]
        eager = frozen(model, keep_fp32)
        inputs = as_tensors(used[0], spec)
        simulated, grids = eager, dict[str, Grid]()
        if precision in GRIDS:
            # Older systems have one palette for a whole layer.
            groups = self._minimum is not CoremlOs.IOS17
            simulated, grids = quantize_weights(eager, keep_fp32, GRIDS[precision], groups=groups)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            exact, made = Path(name) / "fp32.mlpackage", Path(name) / "made.mlpackage"
            convert(eager, inputs, spec, self._minimum, exact, half=False)
            reference = run_torch(eager, held, spec)
            self._check_conversion(exact, held[0], reference[0], spec)
            _tell(progress, 1)
            half = precision is not Precision.FP32
            convert(simulated, inputs, spec, self._minimum, made, half=half, grids=grids)
            _tell(progress, 2)
            session = MilBackend().open(made, spec, torch.get_num_threads())
            actual = [session.run(sample) for sample in held]
            simulation = Simulation(run_torch(simulated, held, spec), ROUNDED) if simulated is not eager else None
            coverage = coreml_coverage(read_package(made).function(), half=half)
            result = measured(out, coverage, spec, reference, simulation, actual, _ARTIFACT_HOW)
            if out.exists():
                out.replace(Path(name) / "replaced.mlpackage")
            made.replace(out)
            _tell(progress, 3)
        return result

    def _check_conversion(
        self, package: Path, sample: Sample, reference: dict[str, FloatArray], spec: ComponentSpec
    ) -> None:
        inputs = dict(zip((t.name for t in spec.inputs), as_tensors(sample, spec), strict=True))
        outputs = Interpreter(package, mode=Mode.FP32).run(inputs).outputs
        for fidelity in compare([reference], [{name: value.numpy() for name, value in outputs.items()}], spec):
            if not fidelity.reaches(CONVERSION_GATE_DB):
                raise GateError(
                    f"{spec.component} for {self._target}: converted in float32, `{fidelity.output}` is "
                    f"{fidelity.sqnr_db:.1f} dB from the network (needed: {CONVERSION_GATE_DB:.0f} dB): coremltools "
                    "changed what it computes. Known causes: gelu(approximate='tanh'), integer constants, writes into "
                    "a state by index; export/lower/mil_interpreter/README.md shows how to find the layer."
                )


def _tell(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done, 3)
