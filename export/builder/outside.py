"""Builds a network of other people: its parts for each target, with the ladder beside them, whole or not at all."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.install import check_free
from pocketcrafter.export.outside import PartResult, climb, faults, load_folder
from pocketcrafter.export.recipe import Gates
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import replacing, write_text
from pocketcrafter.runtime.lock import only_writer
from pocketcrafter.runtime.targets import TargetKind

LADDER: Final = "ladder.json"
"""Beside the artifacts: the rungs of every part on every target."""


def build_outside(
    folder: Path,
    targets: Sequence[TargetKind],
    out: Path,
    gates: Gates,
    progress: Callable[[str, int, int], object] = lambda _name, _done, _total: None,
) -> list[PartResult]:
    """Lower every part of a checkpoint folder for every target, and keep what passes its gates.

    Parameters
    ----------
    folder
        In Hugging Face's layout; see `pocketcrafter.export.outside.load_folder`.
    targets
        What to lower for; artifacts come to lie in a folder of each target's name, with a dash for its colon.
    out
        Where they go; replaced if it is an earlier build.
    gates
        What every part must reach.
    progress
        Called with what is being lowered, how much is done, and how much there is to do.

    Raises
    ------
    BusyError
        If another build writes to ``out``.
    ConfigError
        If something else lies at ``out``.
    OutsideError
        If the folder is not a checkpoint that is known, or its files are not whole.
    GateError
        If a target refuses a part or a part misses a gate; nothing is written then, and the error names all of them.
    """
    with only_writer(out):
        return _build(folder, targets, out, gates, progress)


def _build(
    folder: Path,
    targets: Sequence[TargetKind],
    out: Path,
    gates: Gates,
    progress: Callable[[str, int, int], object],
) -> list[PartResult]:
    check_free(out, LADDER, "such a build")
    jobs = [(part, target) for part in load_folder(folder) for target in targets]
    rungs = []
    with replacing(out) as fresh:
        for done, (part, target) in enumerate(jobs):
            progress(f"{part.name} on {target}", done, len(jobs))
            rungs.append(climb(part, target, fresh / target.replace(":", "-")))
        progress(folder.name, len(jobs), len(jobs))
        if missed := [fault for rung in rungs for fault in faults(rung, gates)]:
            raise GateError(f"{folder}: nothing was written.\n" + "\n".join(missed))
        said = {"folder": folder.name, "gates": gates.model_dump(mode="json"), "rungs": [_said(r) for r in rungs]}
        write_text(fresh / LADDER, json.dumps(said, indent=1))
    return rungs


def _said(rung: PartResult) -> dict[str, object]:
    return rung.model_dump(mode="json", exclude={"refusal"})
