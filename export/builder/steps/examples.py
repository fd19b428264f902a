"""Draws a component's calibration samples, and makes its goldens and files with the full-precision network."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.export.backend import full_precision_session
from pocketcrafter.export.builder.settings import (
    CALIBRATED_WITH,
    CALIBRATION,
    FILES,
    HESSIANS,
    SPEC,
    CalibrationRecord,
    ExamplesSettings,
    golden_files,
)
from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.family import Sample, network_source
from pocketcrafter.quantize.algorithms.hessians import HessianCollector, write_hessians
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.goldens import read_tensors, write_tensors
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.progress import Progress

_GOLDEN_SEED_OFFSET: Final = 1_000_003
_CANDIDATES: Final = 8
"""Samples that each golden of a network that mends its input is chosen from."""


def audit(inputs: Mapping[str, Path], settings: ExamplesSettings, out: Path, progress: Progress) -> None:
    """Load a component as :func:`run` does, and write nothing: what is wrong with its weights is told.

    Parameters
    ----------
    inputs, settings, out, progress
        As for :func:`run`.
    """
    del out, progress
    network_source(settings.networks).load(settings.component, inputs, settings.options)


def run(inputs: Mapping[str, Path], settings: ExamplesSettings, out: Path, progress: Progress) -> None:
    """Write the contract, the calibration samples and the goldens.

    They are `spec.json`, `calibration.npz` and `.json`, `hessians.npz` and, for each golden, `inputs_<n>.npz` and
    `outputs_<n>.npz`; a further function's goldens begin with its name and a dot. In the folder `files` lie those of
    the bundle that are made of the weights. Inputs: those of the family's plan.

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
    """
    source = network_source(settings.networks)
    part = source.load(settings.component, inputs, settings.options)
    (out / SPEC).write_text(part.spec.model_dump_json(indent=1), encoding="utf-8")
    for path, write in part.files.items():
        (out / FILES / path).parent.mkdir(parents=True, exist_ok=True)
        write(out / FILES / path)
    collector = HessianCollector()
    drawn = source.draw(part, inputs, settings.samples, settings.seed, collector)
    write_hessians(out / HESSIANS, collector.hessians())
    progress(1, 2)
    np.savez(
        out / CALIBRATION,
        allow_pickle=False,
        **{f"{index}.{name}": array for index, sample in enumerate(drawn.samples) for name, array in sample.items()},
    )
    record = CalibrationRecord(
        photos={path.name: content_hash(path) for path in drawn.photos},
        seed=settings.seed,
        samples=len(drawn.samples),
        strata=drawn.strata,
        sha256=content_hash(out / CALIBRATION),
    )
    (out / CALIBRATED_WITH).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    for function in (None, *(known.name for known in part.spec.functions)):
        spec, seed = part.spec.of(function), settings.seed + _GOLDEN_SEED_OFFSET
        session = full_precision_session(part, function)
        candidates = settings.goldens * (_CANDIDATES if any(output.mends for output in spec.outputs) else 1)
        found = source.draw(part, inputs, candidates, seed, function=function).samples
        for index, sample in enumerate(_most_mended(found, settings.goldens, session, spec)):
            made, expected = (out / name for name in golden_files(index, function))
            write_tensors(made, sample, spec.inputs)
            # What the network makes of the rounded inputs: those are the ones that every target will be given.
            write_tensors(expected, session.run(read_tensors(made, spec.inputs)), spec.outputs)
    progress(2, 2)


def _most_mended(samples: Sequence[Sample], count: int, session: Session, spec: ComponentSpec) -> Sequence[Sample]:
    """Return those that the network changes most: where it changes hardly anything, rounding hides every fault."""
    if len(samples) == count:
        return samples
    mends = {output.name: output.mends for output in spec.outputs if output.mends}

    def change(sample: Sample) -> float:
        made = session.run(sample)
        return math.fsum(float(np.square(made[output] - sample[mended]).mean()) for output, mended in mends.items())

    return sorted(samples, key=change, reverse=True)[:count]
