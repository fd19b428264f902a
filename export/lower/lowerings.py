"""The registry of lowerings, one line for each family of targets, and the one way to ask for an artifact."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pocketcrafter.export.lower.coreai.lowering import lower_coreai
from pocketcrafter.export.lower.coreml.executorch import lower_executorch_coreml
from pocketcrafter.export.lower.coreml.lowering import lower_coreml
from pocketcrafter.export.lower.executorch.vendor import lower_vendor
from pocketcrafter.export.lower.executorch.vulkan import lower_vulkan
from pocketcrafter.export.lower.executorch.xnnpack import lower_xnnpack
from pocketcrafter.export.lower.litert.lowering import lower_litert
from pocketcrafter.export.lower.onnx.lowering import lower_onnx
from pocketcrafter.export.lower.precisions import ON_THE_CPU, compiled_precision, refusal, runs_as
from pocketcrafter.export.lower.profiles import no_functions, profile_of
from pocketcrafter.export.lower.qnn.context import lower_qnn_context
from pocketcrafter.export.lower.qnn.executorch import lower_executorch_qnn
from pocketcrafter.export.lower.request import LoweredArtifact, Lowering, LoweringRequest
from pocketcrafter.runtime.capabilities import why_not_buildable
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.targets import TARGETS, TargetKind

LOWERINGS: Final[Mapping[str, Lowering]] = {
    "onnx": lower_onnx,
    "executorch-xnnpack": lower_xnnpack,
    "qnn-context": lower_qnn_context,
    "coreml": lower_coreml,
    "coreai": lower_coreai,
    "litert": lower_litert,
    "executorch-qnn": lower_executorch_qnn,
    "executorch-coreml": lower_executorch_coreml,
    "executorch-vulkan": lower_vulkan,
    "executorch-mediatek": lower_vendor,
    "executorch-samsung": lower_vendor,
}
"""What makes the artifacts of a family's targets."""


def lower(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize where asked, lower, and compare.

    What targets share is done here: precisions that they lack are refused, float32 that an accelerator leaves to the
    CPU is lowered for that, and what a target is compiled from is made first where the request does not have it.

    Returns
    -------
    dict
        The artifact of each target in ``request.outs``.

    Raises
    ------
    ConfigError
        If a target has no such precision or no weights of other bits, if there are too few samples, or if
        ``keep_fp32`` names no module or is more than the target can do.
    BackendError
        If a target's toolchain is not here, with what mends it; if it fails, or leaves a part outside.
    ShapeMismatchError
        If a sample or an output does not keep the spec.
    GateError
        If preparing for quantization or converting already changed the network, if an artifact is for another
        system-on-chip, or if an output is not finite.
    """
    for target in request.outs:
        _check(request, target)
    made: dict[TargetKind, LoweredArtifact] = {}
    for group in _groups(request):
        made |= _lower_group(replace(request, outs=group))
    return made


def _check(request: LoweringRequest, target: TargetKind) -> None:
    if reason := refusal(target, request.precision):
        raise ConfigError(reason)
    if reason := why_not_buildable(target):
        raise BackendError(f"{target} cannot be built: {reason}")
    request.scheme(target)
    further = [function.name for function in request.spec.functions]
    if reason := no_functions(target, request.spec.name, further, request.precision):
        raise BackendError(reason)
    if unmeasured := [f.name for f in request.spec.functions if not request.functions.get(f.name)]:
        raise ConfigError(f"{request.spec.name}: no samples of its function {', '.join(unmeasured)} to measure with.")


def _groups(request: LoweringRequest) -> Iterator[dict[TargetKind, Path]]:
    """Yield what is lowered at once: the targets of a family where they share most of the work, else each by itself."""
    together: dict[str, dict[TargetKind, Path]] = {}
    for target, out in request.outs.items():
        if profile_of(target).together and runs_as(target, request.precision) == target:
            together.setdefault(target.family, {})[target] = out
        else:
            yield {target: out}
    yield from together.values()


def _lower_group(request: LoweringRequest) -> Mapping[TargetKind, LoweredArtifact]:
    target, out = next(iter(request.outs.items()))
    runner = runs_as(target, request.precision)
    if runner != target:
        made = lower(replace(request, outs={runner: out}))[runner]
        return {target: replace(made, rung2_how=f"{ON_THE_CPU}{made.rung2_how}")}
    compiled_from = profile_of(target).compiled_from
    if compiled_from is None or request.source is not None:
        return LOWERINGS[target.family](request)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        source = Path(folder) / f"source{TARGETS[compiled_from].suffix}"
        precision = compiled_precision(request.precision)
        made = lower(replace(request, precision=precision, outs={compiled_from: source}, to_compile=True))[
            compiled_from
        ]
        return LOWERINGS[target.family](replace(request, source=made))
