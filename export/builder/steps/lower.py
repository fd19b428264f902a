"""Quantizes one component and lowers it to one target, or to several that share most of the work."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from onnx import ModelProto

from pocketcrafter.export.builder.settings import (
    CALIBRATION,
    COMPILED,
    HESSIANS,
    RECORD,
    LoweringRecord,
    LowerSettings,
    golden_files,
    lowered_to,
    read_spec,
)
from pocketcrafter.export.families.family import network_source
from pocketcrafter.export.lower.decompositions import checked_decomposition, with_plain_norms
from pocketcrafter.export.lower.fx_patches import patch_fx
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.precisions import compiled_precision
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.algorithms.hessians import read_hessians
from pocketcrafter.quantize.calibration import check_samples
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, GateError, PocketCrafterError
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_CALIBRATED: Final = frozenset({Precision.INT8, Precision.A16W8, Precision.A16W4})
"""Precisions whose activation ranges are read from the samples, on one target at least."""

_MOST_TOLD: Final = 600
"""Characters of what a toolchain says of a refusal."""


def run(inputs: Mapping[str, Path], settings: LowerSettings, out: Path, progress: Progress) -> None:
    """Write the artifact and `lowering.json` of each target, in a directory of its own.

    Inputs: what loading the network reads, ``examples`` (the directory that the examples step wrote) and, for a target
    that is compiled from another one's artifact, ``compiled``: the directory in which this step left that one.

    Parameters
    ----------
    inputs
        Paths by input name, as the stage declares them.
    settings
        The settings of the stage.
    out
        Empty directory for the result.
    progress
        Called with steps done and steps in all.

    Raises
    ------
    GateError
        If a gate of the lowering is missed, or the toolchain refuses the network. Other stages go on, so that one build
        tells all refusals.
    ConfigError
        If the recipe asks for what the target does not have.
    """
    patch_fx()
    outs = {}
    for target in settings.targets:
        folder = lowered_to(out, target, settings.precision)
        folder.mkdir()
        outs[target] = folder / f"{settings.component}{TARGETS[target].suffix}"
    with _refusals(settings):
        made = lower(_request(inputs, settings, outs, progress))
    for lowered in made.values():
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


@contextmanager
def _refusals(settings: LowerSettings) -> Iterator[None]:
    """Tell as a missed gate what a toolchain raises; what is wrong with the recipe or the machine stays as it is."""
    what = f"{settings.component} for {', '.join(settings.targets)} was refused:"
    try:
        yield
    except BackendError as error:
        raise GateError(f"{what} {error}") from error
    except (PocketCrafterError, OSError, MemoryError):
        raise
    except Exception as error:  # a toolchain raises whatever it meets
        traceback.print_exc()
        raise GateError(f"{what} {type(error).__name__}: {' '.join(str(error).split())[:_MOST_TOLD]}") from error


def _request(
    inputs: Mapping[str, Path], settings: LowerSettings, outs: Mapping[TargetKind, Path], progress: Progress
) -> LoweringRequest:
    precision, profile = settings.precision, profile_of(settings.targets[0])
    calibration = read_calibration(inputs["examples"] / CALIBRATION)
    source = None
    if profile.compiled_from and COMPILED in inputs:
        source = _read_lowered(lowered_to(inputs[COMPILED], profile.compiled_from, compiled_precision(precision)))
    elif precision in _CALIBRATED:
        check_samples(calibration)
    spec = read_spec(inputs["examples"])
    network = network_source(settings.networks).load(settings.component, inputs).network
    # Networks of several functions are written in plain operators; a rewritten graph has one function.
    if not spec.functions and not isinstance(network, ModelProto):
        if settings.decompose:
            network = checked_decomposition(network, calibration[0], spec)
        elif settings.plain_norms:
            network = with_plain_norms(network)
    return LoweringRequest(
        network=network,
        spec=spec,
        calibration=calibration,
        precision=precision,
        outs=outs,
        keep_fp32=settings.keep_fp32,
        quantization=settings.quantization,
        weight_bits=settings.weight_bits,
        hessians=read_hessians(inputs["examples"] / HESSIANS),
        source=source,
        shared_binary=settings.shared_binary,
        to_compile=settings.to_compile,
        progress=progress,
        functions={f.name: _golden_inputs(inputs["examples"], spec, f.name) for f in spec.functions},
    )


def _golden_inputs(examples: Path, spec: ComponentSpec, function: str) -> list[dict[str, FloatArray]]:
    """Return the inputs of a further function's goldens: calibration samples are the default function's alone."""
    count = len(list(examples.glob(f"{function}.inputs_*.npz")))
    tensors = spec.of(function).inputs
    return [read_tensors(examples / golden_files(i, function)[0], tensors) for i in range(count)]


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
