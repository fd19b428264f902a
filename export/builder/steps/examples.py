"""Draws calibration samples of a pocket component and makes its goldens with the full-precision student."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.builder.settings import CalibrationRecord, ExamplesSettings
from pocketcrafter.export.builder.stage import Progress, content_hash
from pocketcrafter.export.builder.steps.names import CALIBRATED_WITH, CALIBRATION, HESSIANS, SPEC, TOKENIZER_INPUT
from pocketcrafter.export.calibration import frames_in_strata, samples
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.quantize.algorithms.hessians import HessianCollector, write_hessians
from pocketcrafter.runtime.bundle.goldens import read_tensors, write_tensors
from pocketcrafter.runtime.pocket import POCKET_SPECS

PHOTO_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_GOLDEN_SEED_OFFSET: Final = 1_000_003
_THREADS: Final = 1


def photos_in(folder: Path) -> list[Path]:
    """Return the photos that lie in a folder, in order."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES and not p.name.startswith("."))


def run(inputs: Mapping[str, Path], settings: ExamplesSettings, out: Path, progress: Progress) -> None:
    """Write the component's contract, its calibration samples, their Hessians, and its goldens.

    The files are `spec.json`, `calibration.npz` and `.json`, `hessians.npz` and, for each golden, `inputs_<n>.npz` and
    `outputs_<n>.npz`; a further function's goldens begin with its name and a dot.

    Inputs: ``photos`` (a folder), ``weights`` (the component's own), those of other components by their names,
    and the decoder's ``tokenizer``.
    """
    photos = photos_in(inputs["photos"])
    spec = POCKET_SPECS[settings.component]
    (out / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
    folder = out / "weights"
    folder.mkdir()
    for name, path in inputs.items():
        if name == TOKENIZER_INPUT:
            shutil.copyfile(path, folder / TOKENIZER)
        elif name != "photos":
            target = settings.component if name == "weights" else name
            shutil.copyfile(path, folder / f"{target}.safetensors")
    collector = HessianCollector()
    drawn = samples(settings.component, photos, folder, settings.samples, settings.seed, collector)
    write_hessians(out / HESSIANS, collector.hessians())
    progress(1, 2)
    np.savez(
        out / CALIBRATION,
        allow_pickle=False,
        **{f"{index}.{name}": array for index, sample in enumerate(drawn) for name, array in sample.items()},
    )
    record = CalibrationRecord(
        photos={path.name: content_hash(path) for path in photos},
        seed=settings.seed,
        samples=len(drawn),
        strata=frames_in_strata(settings.component, settings.samples, settings.seed),
        sha256=content_hash(out / CALIBRATION),
    )
    (out / CALIBRATED_WITH).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    student = TorchBackend().open(inputs["weights"], spec, _THREADS)
    seed = settings.seed + _GOLDEN_SEED_OFFSET
    for index, sample in enumerate(samples(settings.component, photos, folder, settings.goldens, seed)):
        stored = out / f"inputs_{index}.npz"
        write_tensors(stored, sample, spec.inputs)
        # What the student makes of the rounded inputs: those are the ones that every target will be given.
        write_tensors(out / f"outputs_{index}.npz", student.run(read_tensors(stored, spec.inputs)), spec.outputs)
    shutil.rmtree(folder)
    progress(2, 2)
