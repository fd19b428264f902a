"""Takes the parts of a foreign network up the ladder of each target, and tells where one refuses."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import Field
from torch import nn

from pocketcrafter.export.ladder import first_rungs, misses, with_permissions
from pocketcrafter.export.lower.decompositions import decomposed
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.measure import as_tensors, compare, run_torch
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.export.outside.part import GraphPart, Part, draw_samples
from pocketcrafter.export.recipe import Gates
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_SAMPLES: Final = 4
_CALIBRATED: Final = 8
"""Samples where activations have ranges."""
_SEED: Final = 0

_REWRITTEN_DB: Final = 90.0
"""Rewritten, a network must be itself up to float rounding."""


class PartResult(Config):
    """How one part fared on one target."""

    part: str
    target: TargetKind
    precision: Precision
    refusal: str | None = Field(description="Why the target did not take it; null where it did.")
    rung1: tuple[Fidelity, ...] = Field((), description="Fake-quantized against full precision.")
    rung2: tuple[Fidelity, ...] = Field((), description="The artifact against what it should compute.")
    whole: tuple[Fidelity, ...] = Field((), description="The artifact against full precision, where it is quantized.")
    how: str = Field("", description="What the artifact was run on; why it was not run, where it was not.")
    coverage: Coverage | None = Field(None, description="What is delegated; null where the target refused.")
    artifact_bytes: int = 0


def climb(part: Part | GraphPart, target: TargetKind, out: Path, precision: Precision | None = None) -> PartResult:
    """Lower one part for one target, and measure it.

    Whatever the toolchain raises is a finding, not an error: the rung tells it as a refusal.

    Parameters
    ----------
    part, target
        What is lowered, and for what.
    out
        Folder of the artifact, which is named after the part; made where there is none.
    precision
        That of the target's own arithmetic where none is given: what quantization costs foreign weights is another
        table.
    """
    own = profile_of(target).native_float
    precision, path = precision or own, out / f"{part.name}{TARGETS[target].suffix}"
    out.mkdir(parents=True, exist_ok=True)
    try:
        count = _SAMPLES if precision is own else _CALIBRATED
        samples = draw_samples(part.spec, count, _SEED)
        made = _lowered(part, target, samples, precision, path)
    except Exception as error:  # a toolchain raises whatever it meets
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return PartResult(part=part.name, target=target, precision=precision, refusal=reason[:300])
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return PartResult(
        part=part.name,
        target=target,
        precision=precision,
        refusal=None,
        rung1=made.rung1,
        rung2=made.rung2,
        whole=made.whole,
        how=made.rung2_how,
        coverage=made.coverage,
        artifact_bytes=sum(file.stat().st_size for file in files),
    )


def _lowered(
    part: Part | GraphPart, target: TargetKind, samples: Sequence[Sample], precision: Precision, path: Path
) -> LoweredArtifact:
    if isinstance(part, GraphPart):
        return lower(LoweringRequest(part.graph, part.spec, samples, precision, {target: path}))[target]
    network = _in_plain_operators(part) if profile_of(target).decomposed else part.module
    return lower(LoweringRequest(network, part.spec, samples, precision, {target: path}))[target]


@lru_cache(maxsize=1)
def _in_plain_operators(part: Part) -> nn.Module:
    """Return a part in plain operators; kept for its next target."""
    (sample,) = draw_samples(part.spec, 1, _SEED)
    plain = decomposed(part.module, as_tensors(sample, part.spec))
    expected, outputs = (run_torch(model, [sample], part.spec) for model in (part.module, plain))
    for fidelity in compare(expected, outputs, part.spec):
        if not fidelity.reaches(_REWRITTEN_DB):
            raise GateError(
                f"{part.name}: written in plain operators, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB from the "
                f"network (needed: {_REWRITTEN_DB:.0f} dB)."
            )
    return plain


def faults(result: PartResult, gates: Gates) -> list[str]:
    """Return what keeps a part from being shipped for a target, in words; empty where nothing does."""
    where = f"{result.part} on {result.target}"
    if result.refusal is not None or result.coverage is None:
        return [f"{where}: refused: {result.refusal}"]
    asked, quantized, ran = gates.of(), result.precision.quantized, bool(result.rung2)
    how = result.how or "not run"
    rungs = first_rungs(asked, (result.rung1, how), (result.rung2, how), quantized=quantized, ran=ran)
    coverage = with_permissions(result.coverage, asked.fallbacks)
    missed = misses(asked, rungs, None, coverage, quantized=quantized, ran=ran)
    return [f"{where}: {miss}" for miss in missed]
