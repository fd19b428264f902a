"""Lowers one component of a checkpoint for one target, and tells what the target makes of it or why it refuses."""

from pathlib import Path
from typing import Final

from pydantic import Field
from torch import nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.source import CHECKPOINTS
from pocketcrafter.export.lower.decompositions import written_for
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.request import LoweringRequest
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_SAMPLES: Final = 4
_CALIBRATED: Final = 8
"""Samples where activations have ranges."""
_SEED: Final = 0


class ForeignResult(Config):
    """How one component fared on one target."""

    component: ComponentName
    target: TargetKind
    precision: Precision
    refusal: str | None = Field(description="Why the target did not take it; null where it did.")
    rung1: tuple[Fidelity, ...] = Field((), description="Fake-quantized against full precision.")
    rung2: tuple[Fidelity, ...] = Field((), description="The artifact against what it should compute.")
    whole: tuple[Fidelity, ...] = Field((), description="The artifact against full precision, where it is quantized.")
    how: str = Field("", description="What the artifact was run on; why it was not run, where it was not.")
    coverage: Coverage | None = Field(None, description="What is delegated; null where the target refused.")
    artifact_bytes: int = 0


def try_target(part: Part, target: TargetKind, out: Path, precision: Precision | None = None) -> ForeignResult:
    """Lower one component for one target, and measure it.

    Whatever the toolchain raises is a finding, not an error: the result tells it as a refusal.

    Parameters
    ----------
    part, target
        What is lowered, and for what.
    out
        Folder of the artifact, which is named after the component; made where there is none.
    precision
        That of the target's own arithmetic where none is given.
    """
    own, name = profile_of(target).native_float, part.spec.name
    precision, path = precision or own, out / f"{name}{TARGETS[target].suffix}"
    out.mkdir(parents=True, exist_ok=True)
    count = _SAMPLES if precision is own else _CALIBRATED
    samples = CHECKPOINTS.draw(part, {}, count, _SEED).samples
    further = {f.name: CHECKPOINTS.draw(part, {}, 1, _SEED + 1, function=f.name).samples for f in part.spec.functions}
    try:
        network = part.network
        if isinstance(network, nn.Module):
            network = written_for(target, precision, network, samples[0], part.spec)
        made = lower(LoweringRequest(network, part.spec, samples, precision, {target: path}, functions=further))[target]
    except Exception as error:  # a toolchain raises whatever it meets
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return ForeignResult(component=name, target=target, precision=precision, refusal=reason[:300])
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return ForeignResult(
        component=name,
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
