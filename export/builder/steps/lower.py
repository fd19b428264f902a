"""Quantizes one component and lowers it to one target, or to several that share most of the work."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.export.builder.settings import LoweringRecord, LowerSettings
from pocketcrafter.export.builder.stage import Progress
from pocketcrafter.export.builder.steps.names import CALIBRATION, COMPILED, HESSIANS, RECORD, lowered_to
from pocketcrafter.export.lower.base import Compiling, Guided, LoweredArtifact, Lowering, Together
from pocketcrafter.export.lower.fx_patches import quicken
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.registry import LOWERINGS, TO_COMPILE
from pocketcrafter.export.models import load_component
from pocketcrafter.export.precisions import compiled_precision
from pocketcrafter.quantize.algorithms.hessians import read_hessians
from pocketcrafter.quantize.algorithms.rounding import Guidance
from pocketcrafter.quantize.calibration import check_samples
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import POCKET_SPECS
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_CALIBRATED: Final = frozenset({Precision.INT8, Precision.A16W8, Precision.A16W4})
"""Precisions whose activation ranges are read from the samples, on one target at least."""


def run(inputs: Mapping[str, Path], settings: LowerSettings, out: Path, progress: Progress) -> None:
    """Write the artifact and `lowering.json` of each target, in a directory of its own.

    Inputs: ``weights``, ``examples`` (the directory that the examples step wrote) and, for a target that is compiled
    from another one's artifact, ``compiled``: the directory in which this step left that one.
    """
    quicken()
    outs = {}
    for target in settings.targets:
        folder = lowered_to(out, target, settings.precision)
        folder.mkdir()
        outs[target] = folder / f"{settings.component}{TARGETS[target].suffix}"
    for lowered in _lower(inputs, settings, outs, progress):
        record = LoweringRecord(
            artifact=lowered.path.name,
            functions=lowered.functions,
            coverage=lowered.coverage,
            rung1=lowered.rung1,
            rung1_how=lowered.rung1_how,
            rung2=lowered.rung2,
            rung2_how=lowered.rung2_how,
        )
        (lowered.path.parent / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")


def _lower(
    inputs: Mapping[str, Path], settings: LowerSettings, outs: Mapping[TargetKind, Path], progress: Progress
) -> Iterable[LoweredArtifact]:
    spec, precision, target = POCKET_SPECS[settings.component], settings.precision, settings.targets[0]
    model = load_component(settings.component, inputs["weights"])
    calibration = read_calibration(inputs["examples"] / CALIBRATION)
    lowering = (TO_COMPILE if settings.to_compile else LOWERINGS)[target]
    compiled_from = profile_of(target).compiled_from
    if compiled_from and COMPILED in inputs and isinstance(lowering, Compiling):
        source = _read_lowered(lowered_to(inputs[COMPILED], compiled_from, compiled_precision(precision)))
        return [lowering.compile(source, model, spec, calibration, precision, outs[target])]
    if precision in _CALIBRATED:
        check_samples(calibration)
    lowering = _guided(lowering, inputs["examples"], settings)
    keep_fp32 = settings.keep_fp32
    if isinstance(lowering, Together):
        return lowering.lower_together(
            model, spec, calibration, precision, outs, keep_fp32=keep_fp32, progress=progress
        ).values()
    return [lowering.lower(model, spec, calibration, precision, outs[target], keep_fp32=keep_fp32, progress=progress)]


def _guided(lowering: Lowering, examples: Path, settings: LowerSettings) -> Lowering:
    if isinstance(lowering, Guided):
        return lowering.guided(Guidance(read_hessians(examples / HESSIANS), settings.weight_bits))
    if settings.weight_bits:
        target = settings.targets[0]
        raise ConfigError(f"weight_bits of the {settings.component}: {target} has no weights of other bits.")
    return lowering


def _read_lowered(folder: Path) -> LoweredArtifact:
    record = LoweringRecord.model_validate_json((folder / RECORD).read_bytes())
    return LoweredArtifact(
        path=folder / record.artifact,
        coverage=record.coverage,
        rung1=record.rung1,
        rung1_how=record.rung1_how,
        rung2=record.rung2,
        rung2_how=record.rung2_how,
        functions=record.functions,
    )


def read_calibration(path: Path) -> list[dict[str, FloatArray]]:
    """Return the samples that the examples step wrote, in order."""
    found: dict[int, dict[str, FloatArray]] = {}
    with np.load(path, allow_pickle=False) as data:
        for key in data.files:
            index, _, name = key.partition(".")
            found.setdefault(int(index), {})[name] = data[key]
    return [found[index] for index in sorted(found)]
