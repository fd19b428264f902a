"""Core AI assets for Apple's phones: written by coreai-torch, proved by Apple's own runtime without a Mac."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.export.lower.coreai.convert import convert
from pocketcrafter.export.lower.coreai.program import read_asset
from pocketcrafter.export.lower.coreml.coverage import coreml_coverage
from pocketcrafter.export.lower.measure import (
    ROUNDED,
    SLOWLY,
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
from pocketcrafter.quantize.config import CompressedWeights
from pocketcrafter.quantize.torch.compressed_weights import stored_weights
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TARGETS, TargetKind

CONVERSION_GATE_DB: Final = 85.0
"""A float32 asset is the network up to float rounding; what is below was converted wrongly.

Apple's kernels sum in another order than torch's. Of the shipped networks the composition's tilt, a sum of terms that
nearly cancel, loses most by that: 94 dB on a golden; all other outputs reach 119 dB.
"""
_STEPS: Final = 3
_HOW: Final = "The .aimodel in Apple's own Core AI runtime, on this machine's CPU"


def lower_coreai(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Convert, prove, and write an asset; for ``coreai:<ios>``.

    As for Core ML, the network is converted in float32 first and must be itself; ``fp32`` is that asset. ``fp16``
    computes in float16, but where a constant is too large for it. ``int8``, ``w4`` and the palettes store the weights
    of convolutions and linear layers in fewer bits besides, on the grids that Core ML's packages have (see
    `quantize.torch.compressed_weights`); modules in ``keep_fp32`` keep float16 weights. Nothing is calibrated. What a
    network hands from call to call stays with the caller.

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
    inputs = as_tensors(used[0], spec)
    backend = usable_backend(TARGETS[target].backend)
    reference = run_torch(eager, held, spec)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        made = Path(name) / "made.aimodel"
        convert(eager, inputs, spec, made, half=False)
        actual = run_artifact(backend, made, held[:1] if half else held, spec)
        _check_conversion(compare(reference[:1], actual[:1], spec), spec, target)
        request.progress(1, _STEPS)
        scheme, simulation = request.scheme(target), None
        if isinstance(scheme, CompressedWeights):
            simulation = Simulation(run_torch(quantize(eager, scheme), held, spec), ROUNDED)
        if half:
            stored = stored_weights(eager, scheme) if isinstance(scheme, CompressedWeights) else {}
            convert(eager, inputs, spec, made, half=True, stored=stored)
            request.progress(2, _STEPS)
            actual = run_artifact(backend, made, held, spec)
        coverage = coreml_coverage(read_asset(made), half=half)
        result = measured(out, coverage, spec, reference, simulation, actual, _HOW)
        move(made, out)
        request.progress(_STEPS, _STEPS)
    return {target: result}


def _check_conversion(found: Sequence[Fidelity], spec: ComponentSpec, target: TargetKind) -> None:
    for fidelity in found:
        if not fidelity.reaches(CONVERSION_GATE_DB):
            raise GateError(
                f"{spec.name} for {target}: converted in float32, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB "
                f"from the network (needed: {CONVERSION_GATE_DB:.0f} dB): coreai-torch changed what it computes."
            )
