"""LiteRT models for Android's phones: converted by litert-torch, proved by LiteRT's own interpreter."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.export.lower.litert.convert import apply_recipe, convert
from pocketcrafter.export.lower.litert.coverage import litert_coverage
from pocketcrafter.export.lower.measure import (
    Simulation,
    as_tensors,
    compare,
    hold_back,
    measured,
    run_artifact,
    run_torch,
)
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.runtime.backends.base import checked_inputs
from pocketcrafter.runtime.backends.litert import LiteRtBackend
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

CONVERSION_GATE_DB: Final = 75.0
"""A float32 model is the network up to float rounding; what is below was converted wrongly.

Of the shipped networks the composition's tilt, a sum of terms that nearly cancel, loses most by another order of sums:
84 dB; all other outputs reach 109 dB.
"""
_PT2E: Final = "the PT2E fake-quantized model in torch"
_HOW: Final = "The .tflite in LiteRT with XNNPACK on this machine's CPU"
_FLOAT16: Final = "float16"


def lower_litert(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize with PT2E, convert, run; for ``litert``.

    ``int8`` is the fake-quantized model that XNNPACK's programs of ExecuTorch are made of too: its scales go into the
    file as they are. ``fp16`` stores weights in 16 bits and computes in float32 on a CPU; it is a float32 model first,
    which must be the network itself.

    Raises
    ------
    GateError
        If the float32 model is not the network.
    BackendError
        If the converter's environment is not there, or it refuses the network.
    """
    target, out = request.only
    spec, scheme = request.spec, request.scheme(target)
    used, held = hold_back(request.calibration, spec)
    eager = frozen(request.module(), request.keep_fp32)
    reference, simulation = run_torch(eager, held, spec), None
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        made = Path(name) / "made.tflite"
        if scheme is not None:
            samples = [checked_inputs(sample, spec) for sample in used]
            simulated = quantize(eager, scheme, Calibration(samples), request.progress)
            simulation = Simulation(run_torch(simulated, held, spec), _PT2E)
            convert(simulated, as_tensors(used[0], spec), spec, made)
        else:
            convert(eager, as_tensors(used[0], spec), spec, made)
            actual = run_artifact(LiteRtBackend(), made, held, spec)
            _check_conversion(compare(reference, actual, spec), spec)
        if request.precision is Precision.FP16:
            half = Path(name) / "half.tflite"
            apply_recipe(made, _FLOAT16, spec, half)
            made = half
        actual = run_artifact(LiteRtBackend(), made, held, spec)
        result = measured(out, litert_coverage(made.read_bytes()), spec, reference, simulation, actual, _HOW)
        move(made, out)
    return {target: result}


def _check_conversion(found: Sequence[Fidelity], spec: ComponentSpec) -> None:
    for fidelity in found:
        if not fidelity.reaches(CONVERSION_GATE_DB):
            raise GateError(
                f"{spec.name} for litert: converted in float32, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB from "
                f"the network (needed: {CONVERSION_GATE_DB:.0f} dB): litert-torch changed what it computes."
            )
