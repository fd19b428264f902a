"""The files that the steps leave for each other and in the bundle."""

from pathlib import Path
from typing import Final

from pocketcrafter.export.lower.precisions import runs_as
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.targets import TARGETS, TargetKind

CALIBRATION: Final = "calibration.npz"
HESSIANS: Final = "hessians.npz"
CALIBRATED_WITH: Final = "calibration.json"
COMPILED: Final = "compiled"
"""Input of a lowering whose compiler starts from another target's artifact."""
RECORD: Final = "lowering.json"
FILES: Final = "files"
"""Folder, beside a component's examples, of further files of the bundle at their paths there."""
SPEC: Final = "spec.json"
"""A component's contract, beside its examples."""
PROOF: Final = "proof.json"
BUNDLE: Final = "bundle"
MADE: Final = "made"
"""Input of the bundle: what the family's own stage made beside the networks."""

EXAMPLES: Final = "pocketcrafter.export.builder.steps.examples:run"
"""The step that draws a component's samples: the first that loads its network."""
AUDIT: Final = "pocketcrafter.export.builder.steps.examples:audit"
"""What loads the network as that step does, and writes nothing."""


def lowered_to(result: Path, target: TargetKind, precision: Precision) -> Path:
    """Return the directory, in a lowering's result, of what a target has in a precision.

    Parameters
    ----------
    result
        Result directory of the lowering stage.
    target
        The target.
    precision
        The precision that it was asked in.
    """
    return result / _named(runs_as(target, precision))


def artifact_path(component: str, target: TargetKind) -> str:
    """Return where an artifact lies in a bundle."""
    return f"targets/{_named(target)}/{component}{TARGETS[target].suffix}"


def _named(target: TargetKind) -> str:
    # Windows has no `:` in names, nor has a bundle.
    return target.replace(":", "-")


def read_spec(examples: Path) -> ComponentSpec:
    """Return the contract of the component that a directory has the examples of."""
    return ComponentSpec.model_validate_json((examples / SPEC).read_bytes())


def golden_files(index: int, function: str | None) -> tuple[str, str]:
    """Return the names of a golden's inputs and outputs: of the default function, or of a further one."""
    of = "" if function is None else f"{function}."
    return f"{of}inputs_{index}.npz", f"{of}outputs_{index}.npz"
